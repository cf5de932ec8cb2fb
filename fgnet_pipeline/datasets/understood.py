"""What was understood of a source: shape, axes, type, place, range of values. `fgnet import` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.datasets.source import Size, Source
from fgnet_pipeline.store.input_identity import sample

#: From a source that is decoded by whole sections: how many of them are sampled, and how many of their values are kept.
_SECTIONS, _VALUES = 6, 1 << 20


@dataclass(frozen=True)
class Values:
    """A sample of the values of a source, spread evenly.

    Attributes:
        lowest: of the finite values; None if there are none.
        highest: of the finite values; None if there are none.
        nan: share of the values that are not a number.
        zero_one: whether there are no other values than 0 and 1, and both are there.
    """

    lowest: float | None
    highest: float | None
    nan: float
    zero_one: bool


def sampled_values(source: Source, field: str) -> NDArray[Any]:
    """Values at fixed positions of a source.

    Args:
        source: what is read.
        field: the option to name in errors.

    Returns:
        The values (n,), of the dtype of the source.

    Raises:
        InputError: they cannot be read.
    """
    if not source.by_section:
        return sample(source.shape, source.read, field)
    sections = np.unique(np.linspace(0, source.shape[0] - 1, _SECTIONS).round().astype(int))
    _, y, x = source.shape
    parts = []
    for z in sections:
        values = source.read(Box((int(z), 0, 0), (int(z) + 1, y, x))).ravel()
        parts.append(values[:: max(1, len(values) // _VALUES)])
    return np.concatenate(parts)


def summarized(values: NDArray[Any]) -> Values:
    """The range of values (n,) of any real dtype."""
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        nan = float(np.isnan(values).mean()) if values.size else 0.0
    else:
        finite, nan = values, 0.0
    if not finite.size:
        return Values(None, None, nan, False)
    low, high = finite.min(), finite.max()
    zero_one = bool(low == 0 and high == 1 and np.isin(finite, (0, 1)).all())
    number = float if values.dtype.kind == "f" else int
    return Values(number(low), number(high), nan, zero_one)


def described(source: Source, values: Values, voxel_size: Size, offset: Size) -> dict[str, Any]:
    """What was understood, for JSON.

    Args:
        source: what was opened.
        values: its sample.
        voxel_size: nm, zyx, that is used.
        offset: nm, zyx, that is used.
    """
    return {
        "path": source.path,
        "axes": list(source.axes),
        "shape": list(source.shape),
        "dtype": str(np.dtype(source.dtype)),
        "voxel_size_nm": list(voxel_size),
        "offset_nm": list(offset),
        "values": [values.lowest, values.highest],
        "nan_share": values.nan,
        "stored_share": source.stored,
        "notes": list(source.notes),
    }


class Reinterpreted:
    """A source of signed integers that are read as unsigned ones of the same width (see `source.Source`).

    Some programs store uint16 as int16 without changing the bits, so that 40000 reads as -25536.

    Args:
        source: of signed integers.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.path, self.shape, self.axes = source.path, source.shape, source.axes
        self.by_section, self.stored = source.by_section, source.stored
        self.dtype = np.dtype(f"u{np.dtype(source.dtype).itemsize}")
        self.notes = (*source.notes, f"{source.dtype} is read as {self.dtype}")

    @property
    def voxel_size(self) -> Size | None:
        """See `source.Source`."""
        return self._source.voxel_size

    @property
    def offset(self) -> Size | None:
        """See `source.Source`."""
        return self._source.offset

    def read(self, box: Box) -> NDArray[Any]:
        """See `source.Source`."""
        values = self._source.read(box)
        return np.ascontiguousarray(values).astype(self._source.dtype, copy=False).view(self.dtype)


def signedness(raw: Source, unsigned: bool | None) -> Source:
    """The source, with signed integers read as unsigned ones if `unsigned` says so.

    Args:
        raw: source of the grey values.
        unsigned: True reads integers as unsigned; False and None as they are stored.

    Raises:
        InputError: they are no integers.
    """
    if not unsigned or raw.dtype.kind == "u":
        return raw
    if raw.dtype.kind != "i":
        raise InputError("--unsigned", f"{raw.path} of {raw.dtype}", "integers", "leave it out")
    return Reinterpreted(raw)


def check_range(raw: Source, values: Values, value_range: tuple[float, float] | None, unsigned: bool | None) -> None:
    """Check that raw values have the range of grey that is given.

    Args:
        raw: source of the grey values.
        values: its sample.
        value_range: values that become 0 and 255; None takes uint8 values as they are.
        unsigned: what the user says about the sign; None if nothing.

    Raises:
        InputError: no range though the type needs one, black not below white, a range that the type cannot have or in
            which no value lies, negative values that the range cuts off, or no values at all.
    """
    if values.lowest is None or values.highest is None:
        raise InputError("--raw", raw.path, "values that are numbers, but a sample of it is NaN", "check the file")
    if value_range is None:
        if raw.dtype != np.uint8:
            low, high = values.lowest, max(values.highest, values.lowest + 1)
            remedy = f"e.g. --range {low},{high}, which a sample has (percentiles give more contrast)"
            raise InputError("--range", "not given", f"the {raw.dtype} values that become black and white", remedy)
        return
    black, white = value_range
    if not (np.isfinite(value_range).all() and black < white):
        raise InputError("--range", list(value_range), "two finite numbers, black below white", "swap or correct them")
    given = f"{list(value_range)} for {raw.dtype}"
    if raw.dtype.kind in "ui":
        limits = np.iinfo(raw.dtype)
        if white > limits.max or black < limits.min:
            hint = "; if the values are unsigned and only stored as signed, add --unsigned" if limits.min else ""
            raise InputError("--range", given, f"values from {limits.min} to {limits.max}", f"correct it{hint}")
    if raw.dtype.kind == "i" and unsigned is None and values.lowest < 0 <= black:
        expected = f"black at or below the lowest value, {values.lowest} in a sample"
        remedy = "add --unsigned if unsigned values were stored as signed ones, --signed if negative values are black"
        raise InputError("--range", given, expected, remedy)
    if values.highest <= black or values.lowest >= white:
        colour = "black" if values.highest <= black else "white"
        expected = f"a range in which values lie: a sample has {values.lowest} to {values.highest}, all {colour}"
        raise InputError("--range", given, expected, "correct it")
