"""Axes, voxel size and offset of an N5 dataset, which its own attributes or those of its groups state.

N5 itself fixes none of them (github.com/saalfeldlab/n5). These conventions are read:

- `axes`, `resolution`, `units` per stored axis, inherited from the groups above; without units nanometres (Neuroglancer
  and TensorStore; github.com/google/neuroglancer, src/datasource/n5/index.rst).
- `downsamplingFactors` of a level, or of its group as one list per level, also named `scales`. They multiply the
  resolution (same page; github.com/saalfeldlab/n5-universe, N5SingleScaleMetadataParser).
- `pixelResolution`: `{"unit": "um", "dimensions": [x, y, z]}` (github.com/saalfeldlab/n5-viewer). As a bare list it has
  no unit and counts as not stated.
- `resolution` and `offset` of a group with levels `s0`, `s1`, ..., offset in the unit of the resolution, not in voxels
  (github.com/saalfeldlab/paintera, README, "Paintera Data Format", and N5Helpers.fromResolutionAndOffset). All levels
  share the corner of `s0`.
- `transform` of COSEM (`cosem_transform`), also listed per level in `multiscales` of the group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.axes import named
from fgnet_pipeline.datasets.cosem_transform import CosemTransform, levels_of, parse
from fgnet_pipeline.datasets.stated_numbers import agree, numbers, positive, unit_factors

#: Names of axes by rank, in stored order; the channel is last, as in the reversed order c, z, y, x of NumPy.
_USUAL = {3: ("x", "y", "z"), 4: ("x", "y", "z", "c")}
_LEVEL = re.compile(r"s(\d+)")
_REMEDY = "give --voxel-size and --offset"
_AGREE = "attributes that agree"


@dataclass(frozen=True)
class N5Attributes:
    """The attributes that may say where a dataset lies.

    Attributes:
        own: of the dataset.
        groups: of the groups above it, the nearest first, each with the path of the dataset inside that group.
        first_level: of the sibling `s0`, if the dataset is another level; else empty.
        rank: how many axes the dataset has.
        name: of the dataset, its last path element.
        where: the dataset, for errors.
        option: to name in errors.
    """

    own: Mapping[str, Any]
    groups: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    first_level: Mapping[str, Any] = field(default_factory=dict)
    rank: int = 3
    name: str = ""
    where: str = ""
    option: str = "--raw"

    @property
    def level(self) -> int:
        """The number N of a level `sN`; 0 for every other dataset."""
        match = _LEVEL.fullmatch(self.name)
        return int(match.group(1)) if match else 0

    def axes(self) -> tuple[str, ...]:
        """Names of the stored axes.

        Raises:
            InputError: attributes contradict each other, or do not name every axis.
        """
        found = []
        for value in self._everywhere("axes"):
            found.append(self._names(value))
            break
        transform = self._transform()
        if transform is not None and transform.axes is not None:
            found.append(named(transform.axes))
        if len(set(found)) > 1:
            raise InputError(self.option, f"{self.where} with axes {found}", _AGREE, "name them with --axes")
        return found[0] if found else _USUAL.get(self.rank, tuple(f"d{i}" for i in range(self.rank)))

    def voxel_size(self) -> list[float] | None:
        """Nanometres per stored axis; None if nothing is stated, or pixels are counted.

        Raises:
            InputError: an unknown unit, unknown factors of a level, attributes that contradict each other.
        """
        self._refuse_others()
        transform = self._transform()
        if transform is not None:
            return transform.size
        own, from_group = self._own_size(), None
        for _, group in self.groups:
            base = self._resolution(group)
            if base is not None:
                from_group = _times(base, self._factors())
                break
        if own is not None and from_group is not None and not agree(own, from_group):
            value = f"{self.where} of {own} nm, and of {from_group} nm by its group"
            raise InputError(self.option, value, _AGREE, "give --voxel-size")
        return own if own is not None else from_group

    def offset(self) -> list[float] | None:
        """Position in nm, per stored axis, of the corner of the first voxel; None if nothing is stated.

        Raises:
            InputError: an unknown unit, or an offset whose meaning is not known.
        """
        self._refuse_others()
        transform = self._transform()
        if transform is not None:
            return transform.corner(self._first_transform(transform))
        own = self._offset_of(self.own)
        groups = [found for _, group in self.groups if (found := self._offset_of(group)) is not None]
        if own is None or not any(own):
            return groups[0] if groups else own
        if groups and not np.allclose(own, groups[0]):
            value = f"{self.where} at {own} nm, and at {groups[0]} nm by its group"
            raise InputError(self.option, value, _AGREE, "give --offset")
        if self.level > 0 and not groups:
            expected = "an offset of the group or of level s0: programs disagree about that of another level"
            raise InputError(self.option, f"{self.where} with offset {own} nm", expected, "give --offset")
        return own

    def _everywhere(self, key: str) -> Iterator[Any]:
        """Values of an attribute: of the dataset first, then of its groups, the nearest first."""
        for attributes in (self.own, *(group for _, group in self.groups)):
            if key in attributes:
                yield attributes[key]

    def _names(self, axes: Any) -> tuple[str, ...]:
        listed = axes if isinstance(axes, list) else []
        names = named(tuple(str(axis.get("name") if isinstance(axis, dict) else axis) for axis in listed))
        if len(names) != self.rank:
            value = f"{self.where} with the attribute axes {axes}"
            raise InputError(self.option, value, f"one name for each of {self.rank} axes", "name them with --axes")
        return names

    def _resolution(self, attributes: Mapping[str, Any]) -> list[float] | None:
        """The size that a dataset or group states, in nm per axis, before factors."""
        found = []
        if "resolution" in attributes:
            what = f"{self.where}, attribute resolution"
            values = positive(self._numbers(attributes["resolution"], what, 1.0), self.option, what)
            factors = self._unit_factors(attributes)
            if factors is not None:
                found.append(_times(values, factors))
        pixel = attributes.get("pixelResolution")
        if isinstance(pixel, dict):
            what = f"{self.where}, attribute pixelResolution"
            values = positive(self._numbers(pixel.get("dimensions"), what, 1.0), self.option, what)
            units = unit_factors(pixel.get("unit", ""), self.rank, self.option, what, default=None)
            if units is not None:
                found.append(_times(values, units))
        if len(found) == 2 and not agree(*found):
            value = f"{self.where} with resolution {found[0]} nm and pixelResolution {found[1]} nm"
            raise InputError(self.option, value, _AGREE, "give --voxel-size")
        return found[0] if found else None

    def _own_size(self) -> list[float] | None:
        """The size of the level, from what the dataset itself states. Some programs state there the size of s0."""
        own = self._resolution(self.own)
        if own is None:
            return None
        if self.level == 0:
            return _times(own, self._factors())
        first, factors = self._resolution(self.first_level), self._stated_factors()
        if factors is None:
            if first is not None and agree(own, first):
                self._factors()  # refuses: another level cannot have the voxel size of s0
            return own
        if first is not None and agree(own, _times(first, factors)):
            return own
        return _times(own, factors)

    def _factors(self) -> list[float]:
        """By how much the dataset is coarser than s0, per axis.

        Raises:
            InputError: it is a level other than s0, and nothing states its factors.
        """
        found = self._stated_factors()
        if found is None and self.level > 0:
            expected = f"downsamplingFactors of the level {self.name}"
            raise InputError(self.option, self.where, expected, "give --voxel-size and --offset, or import s0")
        return found if found is not None else [1.0] * self.rank

    def _stated_factors(self) -> list[float] | None:
        found = []
        if "downsamplingFactors" in self.own:
            found.append(self._factor_list(self.own["downsamplingFactors"]))
        for below, group in self.groups:
            levels = group.get("downsamplingFactors", group.get("scales"))
            if not isinstance(levels, list) or not levels or not isinstance(levels[0], list):
                continue
            if _LEVEL.fullmatch(below.rsplit("/", 1)[-1]) and self.level < len(levels):
                found.append(self._factor_list(levels[self.level]))
                break
        if len(found) == 2 and not agree(*found):
            value = f"{self.where} with downsampling factors {found[0]}, and {found[1]} by its group"
            raise InputError(self.option, value, _AGREE, "give --voxel-size")
        return found[0] if found else None

    def _factor_list(self, values: Any) -> list[float]:
        what = f"{self.where}, downsampling factors"
        return positive(self._numbers(values, what, 1.0), self.option, what)

    def _offset_of(self, attributes: Mapping[str, Any]) -> list[float] | None:
        if "offset" not in attributes:
            return None
        values = self._numbers(attributes["offset"], f"{self.where}, attribute offset", 0.0)
        factors = self._unit_factors(attributes)
        if factors is None:
            if any(values):
                value = f"{self.where} with offset {values} in pixels"
                raise InputError(self.option, value, "an offset in a unit of length", "give --offset")
            return None
        return _times(values, factors)

    def _unit_factors(self, attributes: Mapping[str, Any]) -> list[float] | None:
        """Nanometres per unit of `resolution` and `offset`: of these attributes, else of the dataset or its groups."""
        for place in (attributes, self.own, *(group for _, group in self.groups)):
            stated = place.get("units", place.get("unit"))
            pixel = place.get("pixelResolution")
            if stated is None and "resolution" not in place and isinstance(pixel, dict):
                stated = pixel.get("unit")
            if isinstance(stated, list) and len(stated) == self.rank == 4:
                stated = [unit or "nm" for unit in stated]  # an axis of channels has no unit
            if stated is not None:
                return unit_factors(stated, self.rank, self.option, self.where, default=1.0)
        return [1.0] * self.rank

    def _numbers(self, values: Any, what: str, of_channels: float) -> list[float]:
        """One number per stored axis; `of_channels` is that of an axis of channels, which some leave out."""
        found = numbers(values, (self.rank,) if self.rank == 3 else (3, self.rank), self.option, what)
        return [*found, *[of_channels] * (self.rank - len(found))]

    def _refuse_others(self) -> None:
        """Refuse placements that are not read."""
        for matrix in self._everywhere("affineTransform"):
            if not _is_identity(matrix):
                expected = "no affineTransform, or the identity"
                raise InputError(self.option, f"{self.where} with affineTransform {matrix}", expected, _REMEDY)
        for moved in self._everywhere("translate"):
            if any(self._numbers(moved, f"{self.where}, attribute translate", 0.0)):
                expected = "no attribute translate, whose unit is not fixed"
                raise InputError(self.option, f"{self.where} with translate {moved}", expected, _REMEDY)
        for attributes in (self.own, *(group for _, group in self.groups)):
            if any("coordinateTransformations" in level for levels in levels_of(attributes) for level in levels):
                expected = "the conventions of N5, not those of OME-Zarr"
                raise InputError(self.option, f"{self.where} with coordinateTransformations", expected, _REMEDY)

    def _transform(self) -> CosemTransform | None:
        """The transform of the dataset, its own or from the `multiscales` of a group."""
        own = self.own.get("transform")
        for below, group in self.groups:
            for levels in levels_of(group):
                for level in levels:
                    if own is None and level.get("path") == below:
                        own = level.get("transform")
        return None if own is None else parse(own, self.rank, self.option, self.where)

    def _first_transform(self, own: CosemTransform) -> CosemTransform:
        """The transform of s0; that of this dataset if it is no level, or is s0 itself."""
        if self.level == 0:
            return own
        first = self.first_level.get("transform")
        for _, group in self.groups:
            for levels in levels_of(group):
                if first is None and levels:
                    first = levels[0].get("transform")
        if first is None:
            expected = "a transform of level s0 too, from which the corner of this level follows"
            raise InputError(self.option, self.where, expected, "give --offset")
        return parse(first, self.rank, self.option, self.where)


def _times(values: list[float], factors: list[float]) -> list[float]:
    return [value * factor for value, factor in zip(values, factors, strict=True)]


def _is_identity(matrix: Any) -> bool:
    """Whether rows of an affine matrix, with or without the last one, or their numbers in one list change nothing."""
    try:
        values = np.asarray(matrix, np.float64).ravel()
    except (TypeError, ValueError):
        return False
    return values.size in (12, 16) and bool(np.array_equal(values, np.eye(4).ravel()[: values.size]))
