"""Volumes in Zarr, with what each program writes beside the array to say where it lies.

- `own`: `axis_names`, `units`, `voxel_size`, `offset` on the array (funlib.persistence, `Metadata`).
- `xarray`: `_ARRAY_DIMENSIONS` (docs.xarray.dev, "Zarr Encoding Specification"), sizes in nm as above.
- `tensorstore`: `dimension_names` and the attribute `dimension_units` (google.github.io/tensorstore, driver zarr3).
- `ome`: `multiscales` of the group (ngff.openmicroscopy.org, 0.1 to 0.5). Translations place centres of voxels, so the
  corners of two levels differ by half the difference of their voxel sizes. The finest level's translation is its
  offset.
- `webknossos`: `datasource-properties.json` above the layer (docs.webknossos.org, "Zarr"; webknossos-libs).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab_files.specimen import Rendered, Truth, plain, shortest
from lab_files.zarr_arrays import ArrayForm, rendered_array

NM = ("nanometer", 1.0)


@dataclass
class ZarrVolume:
    """The choices of a writer of one volume.

    Attributes:
        truth: what is right to read.
        style: see the docstring of this module.
        form: of the array.
        axes: names of the stored axes, in their order; those but z, y and x have length 1.
        lengths: axis -> another length than 1, of an axis that is not space.
        units: axis -> (spelling, nm per unit).
        shown: axis -> its name as the files spell it.
        size_name: `own` and `xarray`: which attribute holds the voxel size.
        per_stored_axis: `own`: sizes have one number per stored axis, not per axis of space.
        ome: version of the metadata.
        level: `ome`: path of the array below the group.
        split: `ome`: scale of the multiscale; the level's scale is that much smaller.
        factors: `ome`: how much coarser, zyx, the array is than the finest level, which is only listed.
        shift_above: `ome`: the translation belongs to the multiscale, not to the level.
        wrapped: `ome`: the transformations are one `sequence` (RFC 5).
        affine: `ome`: scale and translation are one `affine` (RFC 5).
        more: `ome`: further transformations of the level.
        broken: changes of the attributes and documents that give them another meaning or none, by name.
    """

    truth: Truth
    style: str = "own"
    form: ArrayForm = field(default_factory=ArrayForm)
    axes: list[str] = field(default_factory=lambda: ["z", "y", "x"])
    lengths: dict[str, int] = field(default_factory=dict)
    units: dict[str, tuple[str, float]] = field(default_factory=lambda: dict.fromkeys("zyx", NM))
    shown: dict[str, str] = field(default_factory=dict)
    size_name: str = "voxel_size"
    per_stored_axis: bool = False
    ome: str = "0.4"
    level: str = "s0"
    split: float = 1.0
    factors: tuple[int, int, int] = (1, 1, 1)
    shift_above: bool = False
    wrapped: bool = False
    affine: bool = False
    more: list[dict[str, Any]] = field(default_factory=list)
    broken: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> NDArray[Any]:
        """The voxels in the order of the stored axes."""
        space = [a for a in self.axes if a in "zyx"]
        stored = np.transpose(self.truth.voxels, ["zyx".index(a) for a in space])
        for place, axis in enumerate(self.axes):
            if axis not in "zyx":
                stored = np.expand_dims(stored, place)
                stored = np.repeat(stored, self.lengths.get(axis, 1), place)
        return np.ascontiguousarray(stored)

    @property
    def names(self) -> list[str]:
        """Names of the stored axes, as the files spell them."""
        return list(self.broken.get("names", [self.shown.get(a, a) for a in self.axes]))

    def numbers(self, values: tuple[float, float, float], rest: float, every: bool = True) -> list[int | float]:
        """Numbers in nm, zyx, in the units and the order of the stored axes; `rest` for axes that are not space."""
        found = []
        for axis in self.axes:
            if axis in "zyx":
                found.append(shortest(values["zyx".index(axis)] / self.units[axis][1]))
            elif every:
                found.append(plain(rest))
        return found


def render(volume: ZarrVolume) -> Rendered:
    """The files of a volume."""
    return _STYLES[volume.style](volume)


def _array_only(volume: ZarrVolume, attributes: dict[str, Any], names: list[str] | None) -> Rendered:
    attributes = {k: v for k, v in (attributes | volume.broken.get("attributes", {})).items() if v is not None}
    documents, files = rendered_array(volume.data, volume.form, "v.zarr/raw", attributes, names)
    if volume.form.version == 2:
        documents["v.zarr/.zgroup"] = {"zarr_format": 2}
    else:
        documents["v.zarr/zarr.json"] = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    return Rendered(documents, files, "v.zarr/raw", "zarr")


def _own(volume: ZarrVolume) -> Rendered:
    truth = volume.truth
    assert truth.voxel_size is not None
    every = volume.per_stored_axis
    spelled = [volume.units.get(a, ("", 1.0))[0] for a in volume.axes if every or a in "zyx"]
    attributes = {
        volume.size_name: volume.numbers(truth.voxel_size, 1, every),
        "offset": volume.numbers(truth.offset, 0, every),
        "axis_names": volume.names,
        "units": spelled,
    }
    return _array_only(volume, attributes, None)


def _xarray(volume: ZarrVolume) -> Rendered:
    truth = volume.truth
    assert truth.voxel_size is not None
    attributes = {
        "_ARRAY_DIMENSIONS": volume.names,
        volume.size_name: volume.numbers(truth.voxel_size, 1, volume.per_stored_axis),
        "offset": volume.numbers(truth.offset, 0, volume.per_stored_axis),
    }
    return _array_only(volume, attributes, None)


def _tensorstore(volume: ZarrVolume) -> Rendered:
    truth = volume.truth
    assert truth.voxel_size is not None
    sizes = iter(volume.numbers(truth.voxel_size, 1, every=False))
    units = [f"{next(sizes)!r} {volume.units[a][0]}" if a in "zyx" else None for a in volume.axes]
    attributes = {"dimension_units": units}
    return _array_only(volume, attributes, volume.names)


def _ome(volume: ZarrVolume) -> Rendered:
    form, level = volume.form, f"v.zarr/{volume.level}"
    array_names = volume.names if form.version == 3 else None
    documents, files = rendered_array(volume.data, form, level, {}, array_names)
    multiscale = multiscale_of(volume)
    multiscale["datasets"][-1]["path"] = volume.broken.get("path", "{}").format(volume.level)
    listed = [*volume.broken.get("before", []), multiscale]
    if form.version == 3:
        ome = {"version": volume.ome, "multiscales": listed}
        inside: dict[str, Any] = {"ome": ome} if "bare" not in volume.broken else {"multiscales": listed}
        documents["v.zarr/zarr.json"] = {"zarr_format": 3, "node_type": "group", "attributes": inside}
    else:
        documents["v.zarr/.zgroup"] = {"zarr_format": 2}
        documents["v.zarr/.zattrs"] = {"multiscales": listed}
    return Rendered(documents, files, level, "zarr")


def multiscale_of(volume: ZarrVolume) -> dict[str, Any]:
    """The entry of `multiscales`, in the form of the version."""
    found: dict[str, Any] = {"name": "em", "datasets": [{"path": volume.level}]}
    if volume.ome != "0.5":
        found["version"] = volume.ome
    if volume.ome in ("0.1", "0.2"):
        return found
    if volume.ome == "0.3":
        return found | {"axes": volume.names}
    kinds = {"t": "time", "c": "channel"}
    axes: list[dict[str, Any]] = [
        {"name": name, "type": kinds.get(axis, "space")}
        for axis, name in itertools.zip_longest(volume.axes, volume.names)
        if name is not None
    ]
    for axis, entry in zip(volume.axes, axes, strict=False):
        if axis in volume.units:
            entry["unit"] = volume.units[axis][0]
    found["axes"] = axes
    return found | _transformations(volume, found["datasets"])


def _transformations(volume: ZarrVolume, datasets: list[dict[str, Any]]) -> dict[str, Any]:
    """Sets the transformations of the levels; gives those of the multiscale."""
    truth, split = volume.truth, volume.split
    assert truth.voxel_size is not None
    finest = tuple(v / f for v, f in zip(truth.voxel_size, volume.factors, strict=True))
    shift = tuple(o + (v - f) / 2 for o, v, f in zip(truth.offset, truth.voxel_size, finest, strict=True))
    above: list[dict[str, Any]] = []
    if split != 1:
        above.append({"type": "scale", "scale": [split if a in "zyx" else 1 for a in volume.axes]})
    if volume.shift_above:
        above.append({"type": "translation", "translation": volume.numbers(truth.offset, 0)})
    if volume.factors != (1, 1, 1):
        datasets.insert(0, {"path": "finest", "coordinateTransformations": _level(volume, finest, truth.offset)})
    own = _level(volume, truth.voxel_size, shift)
    datasets[-1]["coordinateTransformations"] = volume.broken.get("level", [*own, *volume.more])
    return {"coordinateTransformations": above} if above else {}


def _level(volume: ZarrVolume, size: Any, shift: Any) -> list[dict[str, Any]]:
    """The transformations of one level with this voxel size and translation in nm, zyx."""
    split = volume.split
    scale = [
        shortest(n / split) if a in "zyx" else n for a, n in zip(volume.axes, volume.numbers(size, 1), strict=True)
    ]
    if volume.shift_above:  # the translation of the multiscale is that of the finest level
        shift = tuple(s - o for s, o in zip(shift, volume.truth.offset, strict=True))
    moved = [shortest(n / split) for n in volume.numbers(shift, 0)]
    found: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(moved) or not volume.shift_above:
        found.append({"type": "translation", "translation": moved})
    if volume.affine:
        found = [{"type": "affine", "affine": _matrix(scale, moved)}]
    return [{"type": "sequence", "transformations": found}] if volume.wrapped else found


def _matrix(scale: list[Any], shift: list[Any]) -> list[list[Any]]:
    return [[n if i == j else 0 for j in range(len(scale))] + [shift[i]] for i, n in enumerate(scale)]


def _webknossos(volume: ZarrVolume) -> Rendered:
    """`axisOrder` names the axes; the bounding box counts voxels of the dataset, which begins at 0."""
    truth = volume.truth
    assert truth.voxel_size is not None
    documents, files = rendered_array(volume.data, volume.form, "ds/color/1", {})
    z, y, x = truth.voxels.shape
    order = volume.broken.get("order", {name: i for i, name in enumerate(volume.names)})
    factor = [shortest(truth.voxel_size["zyx".index(a)] / volume.units[a][1]) for a in "xyz"]
    documents["ds/datasource-properties.json"] = {
        "id": {"name": "ds", "team": ""},
        "scale": volume.broken.get("scale", {"factor": factor, "unit": volume.units["x"][0]}),
        "version": 1,
        "dataLayers": [{
            "name": "color", "category": "color", "elementClass": truth.voxels.dtype.name,
            "dataFormat": "zarr" if volume.form.version == 2 else "zarr3", "numChannels": 1,
            "boundingBox": {"topLeft": [0, 0, 0], "width": x, "height": y, "depth": z},
            "mags": [{"mag": [1, 1, 1], "path": "./color/1", "axisOrder": order}],
        }],
    }  # fmt: skip
    return Rendered(documents, files, "ds/color/1", "zarr")


_STYLES = {"own": _own, "xarray": _xarray, "tensorstore": _tensorstore, "ome": _ome, "webknossos": _webknossos}
