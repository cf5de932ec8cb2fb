"""What the OME-Zarr metadata of a group state of an array that is one of its levels.

Versions 0.1 to 0.3 state no voxel size. 0.4 and 0.5 have `axes` and `coordinateTransformations`; 0.6 has
`coordinateSystems`, of which the one that a level is mapped to is read. Source: https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.attribute_statements import CosemTransform, placed
from fgnet_pipeline.store.axis_names import names_of
from fgnet_pipeline.store.group_files import plain_path
from fgnet_pipeline.store.ome_transforms import Transform, TransformError, composed
from fgnet_pipeline.store.statement import Asked, Numbers, Order, Place, shown


@dataclass(frozen=True)
class OmeLevel:
    """A level of a pyramid.

    Attributes:
        asked: the array.
        multiscale: the entry of `multiscales` that lists the level.
        dataset: the entry of `datasets` that is the level.
        source: what the metadata are called.
    """

    asked: Asked
    multiscale: dict[str, Any]
    dataset: dict[str, Any]
    source: str = "OME-Zarr metadata"

    def axes(self) -> tuple[str, ...] | None:
        return names_of(self.asked, f"{self.source}, axes", self._axes())

    def voxel_size(self, order: Order) -> Numbers | None:
        transform = self._transform("voxel_size", self.dataset)
        if not transform.has_scale:
            return None
        size = transform.scale[list(order)]
        if (size <= 0).any():
            raise self._refusal("voxel_size", f"the scale {transform.scale.tolist()}", "positive numbers")
        return size * self._units("voxel_size", order)

    def place(self, order: Order) -> Place | None:
        picked = list(order)
        here = self._transform("offset", self.dataset)
        if not self._states_translation(here):
            return None
        levels = [level for entry in self._datasets() if (level := self._transform("offset", entry)).has_scale]
        if not any(level.shift[picked].any() for level in [*levels, here]):
            # 0 is 0 in any unit. Without a translation, all levels have one corner.
            units = np.ones(3) if not here.has_scale else self._units_or_ones(order)
        else:
            units = self._units("offset", order)
        known = [(level.scale[picked] * units, level.shift[picked] * units) for level in levels]
        size = here.scale[picked] * units if here.has_scale else None
        return placed(size, here.shift[picked] * units, known)

    def _states_translation(self, here: Transform) -> bool:
        return here.has_scale or bool(here.shift.any())

    def _datasets(self) -> list[dict[str, Any]]:
        return [entry for entry in self.multiscale["datasets"] if isinstance(entry, dict)]

    def _axes(self) -> Any:
        systems = self.multiscale.get("coordinateSystems")
        if systems is None:
            return self.multiscale.get("axes")
        listed = systems if isinstance(systems, list) and all(isinstance(s, dict) for s in systems) else []
        wanted = self._output()
        for system in listed:
            if wanted is None or system.get("name") == wanted:
                return system.get("axes")
        raise self._refusal("axes", f"coordinateSystems {shown(systems)}", f"one with the name {wanted!r}")

    def _output(self) -> str | None:
        """The name of the coordinate system that the level is mapped to (0.6)."""
        transformations = self.dataset.get("coordinateTransformations")
        first = transformations[0] if isinstance(transformations, list) and transformations else None
        output = first.get("output") if isinstance(first, dict) else None
        output = output.get("name") if isinstance(output, dict) else output
        return output if isinstance(output, str) else None

    def _transform(self, part: str, dataset: dict[str, Any]) -> Transform:
        """From voxels to the axes of the pyramid. In 0.6 those of the whole pyramid lead on to other systems."""
        listed = dataset.get("coordinateTransformations")
        is_newer = "coordinateSystems" in self.multiscale
        if is_newer and isinstance(listed, list) and len(listed) > 1:
            raise self._refusal(part, f"{len(listed)} transformations of a level", "one, as version 0.6 demands")
        try:
            own = composed(listed, self.asked.ndim)
            return (
                own
                if is_newer
                else own.then(composed(self.multiscale.get("coordinateTransformations"), self.asked.ndim))
            )
        except (TransformError, RecursionError) as error:
            expected = "identity, scale, translation, or a sequence or affine of these"
            raise self._refusal(part, str(error), expected) from error

    def _units(self, part: str, order: Order) -> Numbers:
        axes = self._axes() or []
        units = [axis.get("unit") if isinstance(axis, dict) else None for axis in axes]
        picked = [units[axis] if axis < len(units) else None for axis in order]
        return np.asarray([self.asked.unit(part, f"{self.source}, an axis", unit) for unit in picked])

    def _units_or_ones(self, order: Order) -> Numbers:
        try:
            return self._units("offset", order)
        except InputError:
            return np.ones(3)

    def _refusal(self, part: str, found: str, expected: str) -> InputError:
        return self.asked.refusal(part, f"{self.asked.path}: {self.source} with {found}", expected)


@dataclass(frozen=True)
class Malformed:
    """Metadata of a group that have the name of OME-Zarr's, but another form."""

    asked: Asked
    found: str
    source: str = "OME-Zarr metadata"

    def axes(self) -> tuple[str, ...] | None:
        raise self._refusal("axes")

    def voxel_size(self, order: Order) -> Numbers | None:
        raise self._refusal("voxel_size")

    def place(self, order: Order) -> Place | None:
        raise self._refusal("offset")

    def _refusal(self, part: str) -> InputError:
        expected = "multiscales as OME-Zarr has them (a list of objects with datasets, each with a path)"
        return self.asked.refusal(part, f"{self.asked.path}: {self.source} with {self.found}", expected)


Level = OmeLevel | CosemTransform | Malformed


def levels_of(asked: Asked, attributes: dict[str, Any], name: str) -> list[Level]:
    """What the attributes of a group state of the array `name` below it; empty if they do not name it.

    Args:
        asked: the array.
        attributes: of the group.
        name: path of the array below the group.
    """
    ome = attributes.get("ome")
    if "ome" in attributes and not isinstance(ome, dict):
        return [Malformed(asked, f"ome = {shown(ome)}")]
    listed = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    if listed is None or (isinstance(listed, dict) and "layout" in listed):  # another convention, without voxel sizes
        return []
    if not isinstance(listed, list):
        return [Malformed(asked, f"multiscales = {shown(listed)}")]
    for multiscale in listed:
        datasets = multiscale.get("datasets") if isinstance(multiscale, dict) else None
        if not isinstance(datasets, list) or not all(
            isinstance(entry, dict) and plain_path(entry.get("path")) is not None for entry in datasets
        ):
            return [Malformed(asked, f"multiscales = {shown(multiscale)}")]
        for dataset in datasets:
            if plain_path(dataset["path"]) == name:
                return _entries(asked, multiscale, dataset)
    return []


def _entries(asked: Asked, multiscale: dict[str, Any], dataset: dict[str, Any]) -> list[Level]:
    """OME-Zarr's statement; and COSEM's, whose lists of levels hold a `transform`."""
    found: list[Level] = [OmeLevel(asked, multiscale, dataset)]
    if isinstance(dataset.get("transform"), dict):
        levels = tuple(entry.get("transform") for entry in multiscale["datasets"])
        found.append(CosemTransform(asked, dataset["transform"], levels, "transform in the metadata of the group"))
    return found
