"""Rows of the table: arrays in Zarr, as `volume.path` of a configuration names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab_files.row import ORIGIN, SIZE, Row
from lab_files.specimen import Rendered, Size, Truth
from lab_files.zarr_arrays import ArrayForm
from lab_files.zarr_volumes import ZarrVolume, render

V2, V3, NGFF = "Zarr v2 specification", "Zarr v3 specification", "OME-Zarr specification"
WK = "WEBKNOSSOS documentation, datasource-properties.json"
MICRO, ANGSTROM = ("micrometer", 1e3), ("angstrom", 0.1)


def zarr(style: str, form: ArrayForm | None = None, **choices: Any) -> Callable[[Truth], Rendered]:
    """A writer of `ZarrVolume`."""
    return lambda truth: render(ZarrVolume(truth, style, form or ArrayForm(), **choices))


def v3(**choices: Any) -> ArrayForm:
    """An array of version 3."""
    return ArrayForm(version=3, separator=choices.pop("separator", "/"), compressor="zstd", **choices)


def changed(make: Callable[[Truth], Rendered], change: Callable[[Rendered], None]) -> Callable[[Truth], Rendered]:
    """The files of another writer, changed."""

    def write(truth: Truth) -> Rendered:
        files = make(truth)
        change(files)
        return files

    return write


def of_size(size: Size, make: Callable[[Truth], Rendered]) -> Callable[[Truth], Rendered]:
    """The files of another writer, which states another voxel size (nm, zyx)."""
    return lambda truth: make(replace(truth, voxel_size=size))


def unsaid(files: Rendered) -> None:
    """Leave out `dimension_separator`."""
    del files.documents[f"{files.path}/.zarray"]["dimension_separator"]


def lost(files: Rendered) -> None:
    """Lose all files but the metadata."""
    files.files.clear()


def named(ending: str) -> Callable[[Rendered], None]:
    """Give all files but the metadata another ending."""

    def rename(files: Rendered) -> None:
        files.files = {name + ending: content for name, content in files.files.items()}

    return rename


def linked(files: Rendered) -> None:
    """Let the user name the array through a symbolic link in another folder."""
    files.linked = "path"


def magnified(files: Rendered) -> None:
    """Call the magnification 2-2-1: it is twice as coarse along x and y as the scale says."""
    (layer,) = files.documents["ds/datasource-properties.json"]["dataLayers"]
    layer["mags"][0]["mag"] = [2, 2, 1]


ZARR_ROWS = [
    Row("v2, flat chunk keys", V2, zarr("own")),
    Row("v2, nested chunk keys, stated", V2, zarr("own", ArrayForm(separator="/"))),
    Row("v2, nested chunk keys, not stated", "zarr-python 2, NestedDirectoryStore",
        changed(zarr("own", ArrayForm(separator="/")), unsaid)),
    Row("v2, big-endian", V2, zarr("own", ArrayForm(big_endian=True)), dtype="uint16"),
    Row("v2, order F", V2, zarr("own", ArrayForm(fortran=True))),
    Row("v2, no chunk stored", V2, changed(zarr("own"), lost), refused="chunk|stored"),
    Row("v2, chunks under other names", V2, changed(zarr("own"), named(".gz")), refused="chunk|stored"),
    Row("v2, _ARRAY_DIMENSIONS x, y, z", "xarray, Zarr Encoding Specification", zarr("xarray", axes=list("xyz"))),
    Row("v2, own attributes in micrometres", "funlib.persistence", zarr("own", units=dict.fromkeys("zyx", MICRO))),
    Row("v2, own attributes in a unit of time", "funlib.persistence",
        zarr("own", units=dict.fromkeys("zyx", ("second", 1.0))), refused="second"),
    Row("v3, shards with an index at the start, checksums", V3,
        zarr("own", v3(sharded=True, index_first=True, crc=True))),
    Row("v3, chunk keys of version 2", V3, zarr("own", v3(key_encoding="v2", separator="."))),
    Row("v3, dimension_names y, x, z", V3, zarr("tensorstore", v3(), axes=list("yxz")), offset=ORIGIN),
    Row("v3, dimension_units in micrometres", "TensorStore, driver zarr3, dimension_units",
        zarr("tensorstore", v3(), units=dict.fromkeys("zyx", ("um", 1e3))), offset=ORIGIN),
    Row("OME-Zarr 0.1", NGFF, zarr("ome", axes=list("tczyx"), ome="0.1"), voxel_size=None, offset=ORIGIN),
    Row("OME-Zarr 0.2", NGFF, zarr("ome", ArrayForm(separator="/"), axes=list("tczyx"), ome="0.2"),
        voxel_size=None, offset=ORIGIN),
    Row("OME-Zarr 0.3", NGFF, zarr("ome", ArrayForm(separator="/"), axes=list("tczyx"), ome="0.3"),
        voxel_size=None, offset=ORIGIN),
    Row("OME-Zarr 0.4 in micrometres", NGFF, zarr("ome", units=dict.fromkeys("zyx", MICRO))),
    Row("OME-Zarr 0.4, another unit per axis", NGFF,
        zarr("ome", units={"z": MICRO, "y": ANGSTROM, "x": ("nanometer", 1.0)})),
    Row("OME-Zarr 0.4, axes x, y, z as objects", NGFF, zarr("ome", axes=list("xyz"))),
    Row("OME-Zarr 0.4, level in a folder", "bioformats2raw, layout 3", zarr("ome", level="0/0", axes=list("tczyx"))),
    Row("OME-Zarr 0.4, scale divided over level and multiscale", NGFF, zarr("ome", split=1000.0)),
    Row("OME-Zarr 0.4, translation at the multiscale", NGFF, zarr("ome", shift_above=True)),
    Row("OME-Zarr 0.4, a level of half the resolution", NGFF + ", centres of voxels",
        zarr("ome", factors=(2, 2, 2), level="s1")),
    Row("OME-Zarr 0.4, a level 8 times as coarse", NGFF + ", centres of voxels",
        zarr("ome", factors=(8, 8, 8), level="s3")),
    Row("OME-Zarr 0.4, a link to a level from another folder", "POSIX, symbolic links", changed(zarr("ome"), linked)),
    Row("OME-Zarr 0.5, with shards", NGFF, zarr("ome", v3(sharded=True), ome="0.5")),
    Row("OME-Zarr, transformations as a sequence", NGFF + ", RFC 5", zarr("ome", v3(), ome="0.5", wrapped=True)),
    Row("OME-Zarr, transformation as an affine", NGFF + ", RFC 5", zarr("ome", v3(), ome="0.5", affine=True)),
    Row("OME-Zarr, transformation in an array of its own", NGFF,
        zarr("ome", broken={"level": [{"type": "scale", "path": "scale"}]}), refused="scale"),
    Row("OME-Zarr, a scale of 0", NGFF, zarr("ome", broken={"level": [{"type": "scale", "scale": [0, 8, 4]}]}),
        refused="scale"),
    Row("OME-Zarr, a unit that is no length", NGFF, zarr("ome", units=dict.fromkeys("zyx", ("parsecond", 1.0))),
        refused="parsecond"),
    Row("OME-Zarr, three channels", NGFF, zarr("ome", axes=list("czyx"), lengths={"c": 3}), refused="channel"),
    Row("WEBKNOSSOS, Zarr v2, order F", WK,
        zarr("webknossos", ArrayForm(fortran=True), axes=list("cxyz")), offset=ORIGIN),
    Row("WEBKNOSSOS, a link to a magnification from another folder", "POSIX, symbolic links",
        changed(zarr("webknossos", axes=list("cxyz")), linked), offset=ORIGIN),
    Row("WEBKNOSSOS, Zarr v3, scale in micrometres", WK,
        zarr("webknossos", v3(), axes=list("cxyz"), units=dict.fromkeys("zyx", MICRO)), offset=ORIGIN),
    Row("WEBKNOSSOS, a magnification of 2-2-1", WK,
        changed(of_size(SIZE, zarr("webknossos", axes=list("cxyz"))), magnified),
        voxel_size=(40.0, 16.0, 8.0), offset=ORIGIN),
]  # fmt: skip
