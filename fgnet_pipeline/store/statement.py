"""What metadata may state of an array, and how a statement that does not fit is refused.

One class per kind of metadata (`attribute_statements`, `ome_metadata`, `webknossos`) has the methods of `Statement`. A
method is called only if its answer is needed. So a value that the configuration gives avoids the refusal of a statement
that cannot be read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.units import length_unit
from fgnet_pipeline.store.frame import Pyramid

#: Which axes of an array are z, y and x.
Order = tuple[int, int, int]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where an array lies.

    Attributes:
        offset: nm, zyx, of the corner of voxel 0.
        pyramid: the pyramid that states it, if its translations are those of OME-Zarr or COSEM.
    """

    offset: Numbers
    pyramid: Pyramid | None = None


class Statement(Protocol):
    """What one kind of metadata states. Every method gives None for what is not stated, and may raise InputError."""

    @property
    def source(self) -> str:
        """What the metadata are called, for people."""

    def axes(self) -> tuple[str, ...] | None:
        """Names of the stored axes, in their order, in lower case."""

    def voxel_size(self, order: Order) -> Numbers | None:
        """Voxel size in nm, zyx."""

    def place(self, order: Order) -> Place | None:
        """Where the array lies."""


@dataclass(frozen=True)
class Asked:
    """The array of which metadata are read.

    Attributes:
        path: folder or URL.
        field: the configuration key or option that names it.
        ndim: its number of axes.
    """

    path: str
    field: str
    ndim: int

    def refusal(self, part: str, found: str, expected: str) -> InputError:
        """The error for metadata that cannot be honoured.

        Args:
            part: `axes`, `voxel_size` or `offset`.
            found: what states what.
            expected: what would be accepted.
        """
        key, remedy = self._key(part)
        return InputError(key, found, expected, remedy)

    def _key(self, part: str) -> tuple[str, str]:
        if self.field != "volume.path":
            return self.field, f"correct the metadata of {self.path}"
        both = " (and volume.offset)" if part == "voxel_size" else ""
        return f"volume.{part}", f"correct the metadata of {self.path}, or set volume.{part}{both}"

    def triple(self, part: str, where: str, value: object, order: Order) -> Numbers:
        """Numbers per stored axis as three numbers, zyx.

        Three numbers for an array with more axes are those of the spatial axes, in their stored order.

        Raises:
            InputError: `value` is no list of three finite numbers, or of one per axis.
        """
        numbers = self.numbers(part, where, value)
        if len(numbers) == self.ndim:
            return numbers[list(order)]
        if len(numbers) == 3:
            return numbers[np.argsort(np.argsort(order))]
        raise self.refusal(part, f"{where} = {shown(value)}", f"3 numbers, or {self.ndim}, one per axis")

    def numbers(self, part: str, where: str, value: object) -> Numbers:
        """A list of finite numbers.

        Raises:
            InputError: it is something else.
        """
        if isinstance(value, list | tuple) and value and all(map(_is_number, value)):
            return np.asarray(value, dtype=np.float64)
        raise self.refusal(part, f"{where} = {shown(value)}", "a list of finite numbers")

    def unit(self, part: str, where: str, unit: object) -> float:
        """Nanometres per unit; 1 if no unit is stated.

        Raises:
            InputError: the unit is no known unit of length.
        """
        if unit is None or unit == "":
            return 1.0
        key, remedy = self._key(part)
        return length_unit(unit, key, f"{self.path}, {where}", remedy)

    def units(self, part: str, where: str, units: object, order: Order) -> Numbers:
        """Nanometres per unit, zyx.

        Args:
            part: `voxel_size` or `offset`.
            where: what states the units.
            units: one text for all axes, a list of one per stored axis or per spatial axis, or None.
            order: which axes are z, y and x.

        Raises:
            InputError: the units are of another form, or unknown.
        """
        if units is None or isinstance(units, str):
            return np.full(3, self.unit(part, where, units))
        if not isinstance(units, list | tuple) or len(units) not in (3, self.ndim):
            raise self.refusal(part, f"{where} = {shown(units)}", f"3 units, or {self.ndim}, one per axis")
        picked = order if len(units) == self.ndim else np.argsort(np.argsort(order))
        return np.asarray([self.unit(part, where, units[axis]) for axis in picked])


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False


def shown(value: Any) -> str:
    """A value for a message, cut off if it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
