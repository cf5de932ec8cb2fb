"""Refuse values that cannot be affinities, judged by a sample: each of these would give a plausible segmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError

FIELD = "affinities.path"
#: Share of NaN up to which they count as boundary.
MOST_NAN = 0.01
#: By how much a float may lie outside [0, 1], from rounding.
TOLERANCE = 1e-3
#: Floats that are all below this are affinities that were divided by 255 once too often: half a step of uint8 is lost.
SMALLEST_RANGE = 1.5 / 255


def check_values(values: npt.NDArray[Any], path: str) -> None:
    """Check the values of affinities.

    Args:
        values: a sample (n,), uint8 or float.
        path: of the array, to name in errors.

    Raises:
        InputError: uint8 of only 0 and 1; floats outside [0, 1], all near 0, infinite, or too often NaN.
    """
    if values.dtype == np.uint8:
        _check_bytes(values, path)
    else:
        _check_floats(values.astype(np.float64), path)


def _check_bytes(values: npt.NDArray[np.uint8], path: str) -> None:
    if values.max(initial=0) == 1:
        found = f"{path} of uint8 that hold only 0 and 1"
        raise InputError(FIELD, found, "uint8 from 0 to 255 (value/255 is the affinity)", "multiply them by 255")


def _check_floats(values: npt.NDArray[np.float64], path: str) -> None:
    nan = float(np.isnan(values).mean()) if values.size else 0.0
    if nan > MOST_NAN:
        raise InputError(FIELD, f"{path} with {nan:.1%} NaN among its sampled values", f"at most {MOST_NAN:.0%} NaN",
                         "replace NaN by 0, which is a boundary")  # fmt: skip
    if np.isinf(values).any():
        raise InputError(FIELD, f"{path} with infinite values", "floats in [0, 1]", "replace them")
    finite = values[~np.isnan(values)]
    low, high = finite.min(initial=0.0), finite.max(initial=0.0)
    if high > 1 + TOLERANCE:
        raise InputError(FIELD, f"{path} with values up to {high:g}", "floats in [0, 1]", "divide them by their range")
    if low < -TOLERANCE:
        found, remedy = f"{path} with values down to {low:g}", "logits need a sigmoid; other values their range"
        raise InputError(FIELD, found, "floats in [0, 1]", remedy)
    if 0 < high < SMALLEST_RANGE:
        found, remedy = f"{path} with values up to only {high:g}", "if they were divided by 255 twice, multiply them"
        raise InputError(FIELD, found, "floats from 0 to 1", remedy)
