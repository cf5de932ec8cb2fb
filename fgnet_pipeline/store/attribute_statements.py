"""What the attributes of an array state: our own, and those of xarray, COSEM, Paintera, N5 viewer and TensorStore."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgnet_pipeline.store.axis_names import names_of
from fgnet_pipeline.store.frame import Pyramid, size_of
from fgnet_pipeline.store.statement import Asked, Numbers, Order, Place, shown

_AMOUNT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)?\s*(.*?)\s*")


@dataclass(frozen=True)
class NamedAxes:
    """Names of axes: `axis_names` (ours), `axes`, `_ARRAY_DIMENSIONS` (xarray) or `dimension_names` (Zarr v3)."""

    asked: Asked
    source: str
    value: Any

    def axes(self) -> tuple[str, ...] | None:
        return names_of(self.asked, self.source, self.value)

    def voxel_size(self, order: Order) -> Numbers | None:
        return None

    def place(self, order: Order) -> Place | None:
        return None


@dataclass(frozen=True)
class OwnAttributes:
    """`voxel_size` or `resolution`, `offset` and `units`, as our arrays, funlib's and CREMI's have them.

    Paintera writes `resolution` and `offset` in the order x, y, z, as N5 has it. It is known by `painteraData`.
    """

    asked: Asked
    attributes: dict[str, Any]
    is_paintera: bool = False

    @property
    def source(self) -> str:
        return f"attribute {self._name}"

    @property
    def _name(self) -> str:
        return "resolution" if self.attributes.get("voxel_size") is None else "voxel_size"

    @property
    def is_authoritative(self) -> bool:
        """Whether `voxel_size` is stated: it is our own attribute, and no other statement is asked."""
        return self.attributes.get("voxel_size") is not None

    def axes(self) -> tuple[str, ...] | None:
        return None

    def voxel_size(self, order: Order) -> Numbers | None:
        value = self.attributes.get(self._name)
        if value is None:
            return None
        factors = self.attributes.get("downsamplingFactors")
        if self._name == "resolution" and factors is not None and set(np.ravel(factors).tolist()) != {1}:
            found = f"{self.asked.path} with resolution and downsamplingFactors {shown(factors)}"
            raise self.asked.refusal("voxel_size", found, "a resolution that is that of this level")
        return self._numbers("voxel_size", self._name, value, order)

    def place(self, order: Order) -> Place | None:
        value = self.attributes.get("offset")
        return None if value is None else Place(self._numbers("offset", "offset", value, order))

    def _numbers(self, part: str, name: str, value: Any, order: Order) -> Numbers:
        if self.is_paintera and self._name == "resolution" and isinstance(value, list):
            value = value[::-1]
        numbers = self.asked.triple(part, name, value, order)
        if not numbers.any():
            return numbers  # an offset of 0 is 0 in any unit; a voxel size of 0 is refused by its reader
        units, unit = self.attributes.get("units"), self.attributes.get("unit")
        if units is not None and unit is not None and units != unit and units != [unit] * len(units):
            found = f"{self.asked.path} with units {shown(units)} and unit {shown(unit)}"
            raise self.asked.refusal(part, found, "one statement about units")
        return numbers * self.asked.units(part, "units", unit if units is None else units, order)


@dataclass(frozen=True)
class CosemTransform:
    """COSEM's (CellMap's) attribute `transform`: axes, units, scale, and translate, which places the centre of voxel 0.

    Source: class STTransform of github.com/janelia-cellmap/cellmap-schemas. With `order` F its lists are reversed.

    Attributes:
        asked: the array.
        transform: of this array.
        levels: the transforms of all levels of its pyramid, as the group lists them; may be empty.
    """

    asked: Asked
    transform: dict[str, Any]
    levels: tuple[Any, ...] = ()
    source: str = "attribute transform"

    def axes(self) -> tuple[str, ...] | None:
        return names_of(self.asked, "transform.axes", self._listed("axes"))

    def voxel_size(self, order: Order) -> Numbers | None:
        return None if self._listed("scale") is None else self._scaled("voxel_size", "scale", order)

    def place(self, order: Order) -> Place | None:
        if self._listed("translate") is None:
            return None
        translation = self._scaled("offset", "translate", order)
        size = self.voxel_size(order)
        others = [CosemTransform(self.asked, level) for level in self.levels if isinstance(level, dict)]
        known = [(other.voxel_size(order), other._scaled("offset", "translate", order)) for other in others
                 if {"scale", "translate"} <= set(other.transform)]  # fmt: skip
        return placed(size, translation, [(s, t) for s, t in known if s is not None])

    def _listed(self, name: str) -> Any:
        value = self.transform.get(name)
        return value[::-1] if self.transform.get("order") == "F" and isinstance(value, list) else value

    def _scaled(self, part: str, name: str, order: Order) -> Numbers:
        numbers = self.asked.triple(part, f"transform.{name}", self._listed(name), order)
        return numbers * self.asked.units(part, "transform.units", self._listed("units"), order)


def placed(size: Numbers | None, translation: Numbers, levels: list[tuple[Numbers, Numbers]]) -> Place:
    """Where a level of a pyramid lies, whose translations place centres of voxels (the rules of `frame`).

    Args:
        size: voxel size of the level in nm, zyx; None if it is not stated.
        translation: of the level, nm, zyx.
        levels: voxel size and translation of every level of the pyramid, nm, zyx; this level may be among them.
    """
    if size is None:
        return Place(translation)
    levels = levels or [(size, translation)]
    finest, origin = min(levels, key=lambda level: float(np.prod(level[0])))
    moved = [np.abs(t - origin) > 1e-3 * finest for _, t in [*levels, (size, translation)]]
    alone = all(np.allclose(s, size) for s, _ in levels)
    centred = bool(translation.any()) if alone else bool(np.any(moved))
    offset = translation - (size - finest) / 2 if centred else translation
    return Place(offset, Pyramid(size_of(finest), size_of(origin), centred))


@dataclass(frozen=True)
class ViewerResolution:
    """The N5 viewer's attribute `pixelResolution`: {"dimensions": [x, y, z], "unit": ...}.

    With `downsamplingFactors` it is that of the finest level (github.com/saalfeldlab/n5-viewer).
    """

    asked: Asked
    attributes: dict[str, Any]
    source: str = "attribute pixelResolution"

    def axes(self) -> tuple[str, ...] | None:
        return None

    def voxel_size(self, order: Order) -> Numbers | None:
        value = self.attributes.get("pixelResolution")
        if value is None:
            return None
        if not isinstance(value, dict) or len(self._three("dimensions", value.get("dimensions"))) != 3:
            expected = '{"dimensions": [x, y, z], "unit": ...}'
            raise self.asked.refusal("voxel_size", f"pixelResolution = {shown(value)}", expected)
        size = self._three("dimensions", value["dimensions"])[::-1]
        factors = self.attributes.get("downsamplingFactors")
        if factors is not None:
            size = size * self._three("downsamplingFactors", factors)[::-1]
        return size * self.asked.unit("voxel_size", "pixelResolution.unit", value.get("unit"))

    def _three(self, name: str, value: Any) -> Numbers:
        numbers = self.asked.numbers("voxel_size", name, value)
        if len(numbers) != 3:
            raise self.asked.refusal("voxel_size", f"{name} = {shown(value)}", "3 numbers, x, y and z")
        return numbers

    def place(self, order: Order) -> Place | None:
        return None


@dataclass(frozen=True)
class DimensionUnits:
    """TensorStore's attribute `dimension_units`: per stored axis "4 nm", [4, "nm"], or null if nothing is known."""

    asked: Asked
    value: Any
    source: str = "attribute dimension_units"

    def axes(self) -> tuple[str, ...] | None:
        return None

    def voxel_size(self, order: Order) -> Numbers | None:
        if self.value is None:
            return None
        if not isinstance(self.value, list) or len(self.value) != self.asked.ndim:
            raise self._refusal(f"a list of {self.asked.ndim} units, one per axis")
        stated = [self.value[axis] for axis in order]
        if all(entry in (None, "", [1, ""], [1.0, ""]) for entry in stated):
            return None
        return np.asarray([self._nm(entry) for entry in stated])

    def _nm(self, entry: Any) -> float:
        if isinstance(entry, str) and (found := _AMOUNT.fullmatch(entry)):
            entry = [float(found[1] or 1), found[2]]
        if not isinstance(entry, list) or len(entry) != 2 or not entry[1]:
            raise self._refusal('units such as "4 nm" or [4, "nm"]')
        (amount,) = self.asked.numbers("voxel_size", self.source, entry[:1])
        return float(amount) * self.asked.unit("voxel_size", self.source, entry[1])

    def _refusal(self, expected: str) -> Exception:
        return self.asked.refusal("voxel_size", f"{self.source} = {shown(self.value)}", expected)

    def place(self, order: Order) -> Place | None:
        return None
