"""The attribute `transform` by which COSEM places a level of an N5 volume.

Its lists are in C order, the reverse of the stored order (github.com/saalfeldlab/n5-universe, N5CosemMetadata;
github.com/janelia-cellmap/cellmap-schemas). `translate` is the centre of the first voxel. Level s0 usually has
`translate` 0, so its corner counts as 0, and coarser levels lie relative to it:
corner = translate - (size - size of s0) / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.units import length_unit
from fgnet_pipeline.datasets.stated_numbers import numbers, positive

_REMEDY = "give --voxel-size and --offset"


@dataclass(frozen=True)
class CosemTransform:
    """A transform, with one entry per stored axis.

    Attributes:
        axes: names; None if it names none.
        size: nm.
        centre: nm, of the first voxel.
    """

    axes: tuple[str, ...] | None
    size: list[float]
    centre: list[float]

    def corner(self, first: CosemTransform) -> list[float]:
        """Position in nm of the corner of the first voxel, if the transform of s0 is `first`."""
        return [c - (s - f) / 2 for c, s, f in zip(self.centre, self.size, first.size, strict=True)]


def parse(transform: Any, rank: int, option: str, where: str) -> CosemTransform:
    """Read a transform.

    Args:
        transform: the attribute.
        rank: how many axes the dataset has.
        option: to name in errors.
        where: the dataset, for errors.

    Raises:
        InputError: something is missing, has another length, or a unit is unknown.
    """
    what = f"{where}, attribute transform"
    if not isinstance(transform, dict) or "scale" not in transform:
        raise InputError(
            option, f"{what} = {transform}", "axes, scale, translate and units, as COSEM writes it", _REMEDY
        )
    units = _listed(transform.get("units"), rank, option, what)
    factors = [length_unit(unit, option, what, _REMEDY) for unit in units]
    size = positive(numbers(transform["scale"], (rank,), option, what), option, what)
    centre = numbers(transform.get("translate", [0.0] * rank), (rank,), option, what)
    axes = transform.get("axes")
    names = None if axes is None else tuple(str(name) for name in _listed(axes, rank, option, what)[::-1])
    return CosemTransform(
        names,
        [v * f for v, f in zip(size, factors, strict=True)][::-1],
        [v * f for v, f in zip(centre, factors, strict=True)][::-1],
    )


def _listed(values: Any, rank: int, option: str, what: str) -> list[Any]:
    """One value per axis; a single value counts for all."""
    found = values if isinstance(values, list) else [values] * rank
    if len(found) != rank:
        raise InputError(option, f"{what} with {found}", f"{rank} values", _REMEDY)
    return found


def levels_of(attributes: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """Per entry of the attribute `multiscales` of a group, its levels."""
    listed = attributes.get("multiscales")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    levels = [entry.get("datasets") for entry in entries]
    return [[level for level in found if isinstance(level, dict)] for found in levels if isinstance(found, list)]
