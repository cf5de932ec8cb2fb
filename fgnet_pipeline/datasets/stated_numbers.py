"""Numbers that metadata state: voxel sizes, offsets and units, in whatever form an attribute has."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.units import length_unit

#: What units are called if positions are counted and not measured. ImageJ writes `pixel` when nothing is known.
_UNMEASURED = {"", "pixel", "pixels", "px", "voxel", "voxels", "none", "null", "unitless"}


def numbers(value: Any, counts: Sequence[int], field: str, what: str) -> list[float]:
    """The numbers of an attribute: a list, an array, or text such as `8 8 8`, `8,8,8` or `[8, 8, 8]`.

    Args:
        value: of the attribute.
        counts: how many numbers there may be.
        field: the option to name in errors.
        what: states the numbers, for errors, e.g. `raw.h5:volumes/raw, attribute resolution`.

    Raises:
        InputError: no numbers, numbers that are not finite, or another count of them.
    """
    shown = f"{what}, {value!r}" if len(repr(value)) < 80 else what
    expected = f"{' or '.join(str(count) for count in counts)} finite numbers"
    refusal = InputError(field, shown, expected, "give --voxel-size and --offset, which override what a file states")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s,;]+", value.strip().strip("[]()").strip()) if part]
    try:
        found = np.asarray(value)
        if found.dtype.kind not in "uifSUO" or found.ndim > 2 or max(found.shape, default=1) != found.size:
            raise refusal
        result = [float(v) for v in found.ravel()]
    except (TypeError, ValueError) as error:
        raise refusal from error
    if len(result) not in counts or not all(math.isfinite(v) for v in result):
        raise refusal
    return result


def positive(values: list[float], field: str, what: str) -> list[float]:
    """The same numbers.

    Raises:
        InputError: one is not above 0.
    """
    if min(values) <= 0:
        raise InputError(field, f"{what}, {values}", "numbers above 0", "give --voxel-size")
    return values


def unit_factors(units: Any, count: int, field: str, what: str, default: float | None) -> list[float] | None:
    """Nanometres per unit.

    Args:
        units: one name, or a list of one name per axis; None if nothing is stated.
        count: of axes.
        field: the option to name in errors.
        what: states the units, for errors.
        default: nm per unit if nothing is stated; None if there is no such convention.

    Returns:
        One factor per axis; None if lengths are counted in pixels, or if nothing is stated and there is no default.

    Raises:
        InputError: a unit is unknown, or there is not one per axis.
    """
    if units is None:
        return None if default is None else [default] * count
    if isinstance(units, np.ndarray):
        units = units.tolist()
    names = [_text(unit) for unit in (units if isinstance(units, list | tuple) else [units] * count)]
    if len(names) not in (count, 3):
        raise InputError(field, f"{what} with the units {names}", f"{count} units", "give --voxel-size and --offset")
    if all(isinstance(name, str) and name.strip().lower() in _UNMEASURED for name in names):
        return None
    remedy = "give --voxel-size and --offset in nm"
    return [length_unit(name, field, what, remedy) for name in names]


def _text(unit: Any) -> Any:
    return unit.decode("utf-8", "replace") if isinstance(unit, bytes) else unit


def agree(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two sizes are equal to a thousandth."""
    return bool(np.allclose(one, other, rtol=1e-3, atol=0))
