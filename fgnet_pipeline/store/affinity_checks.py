"""Refuse values that cannot be affinities, judged by a sample: each of these would give a plausible segmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError

#: Share of NaN up to which they count as boundary.
MOST_NAN = 0.01
#: By how much a float may lie outside [0, 1], from rounding.
TOLERANCE = 1e-3
#: Floats that are all below this are affinities that were divided by 255 once too often.
SMALLEST_RANGE = 1.5 / 255


def check_values(values: npt.NDArray[Any], field: str, path: str) -> None:
    """Check the values of affinities.

    Args:
        values: a sample (n,).
        field: the configuration key or option to name in errors.
        path: of the array, to name in errors.

    Raises:
        InputError: no uint8 and no floats; uint8 of only 0 and 1; floats outside [0, 1], all near 0, infinite, or too
            often NaN.
    """
    if values.dtype.kind == "f":
        _check_floats(values.astype(np.float64), field, path)
    elif values.dtype != np.uint8:
        expected = "uint8 (value/255 is the affinity) or floats from 0 to 1"
        raise InputError(field, f"{path} of {values.dtype}", expected, "convert it")
    elif values.max(initial=0) == 1:
        found = f"{path} of uint8 that hold only 0 and 1"
        raise InputError(field, found, "uint8 from 0 to 255 (value/255 is the affinity)", "multiply them by 255")


def _check_floats(values: npt.NDArray[np.float64], field: str, path: str) -> None:
    nan = float(np.isnan(values).mean()) if values.size else 0.0
    if nan > MOST_NAN:
        found = f"{path} with {nan:.1%} NaN among its sampled values"
        raise InputError(field, found, f"at most {MOST_NAN:.0%} NaN", "replace NaN by 0, which is a boundary")
    if np.isinf(values).any():
        raise InputError(field, f"{path} with infinite values", "floats from 0 to 1", "replace them")
    finite = values[~np.isnan(values)]
    low, high = finite.min(initial=0.0), finite.max(initial=0.0)
    if high > 1 + TOLERANCE:
        raise InputError(
            field, f"{path} with values up to {high:g}", "floats from 0 to 1", "divide them by their range"
        )
    if low < -TOLERANCE:
        remedy = "logits need a sigmoid; other values their range"
        raise InputError(field, f"{path} with values down to {low:g}", "floats from 0 to 1", remedy)
    if 0 < high < SMALLEST_RANGE:
        remedy = "if they were divided by 255 twice, multiply them"
        raise InputError(field, f"{path} with values up to only {high:g}", "floats from 0 to 1", remedy)
