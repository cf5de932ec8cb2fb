"""The rows of Zarr, and the changes that keep what an array means."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np

from campaign import json_changes, path_changes, zarr_damage
from campaign.mutation import Format
from campaign.spellings import ALL, WORDS
from lab_files.specimen import Rendered, plain, truth_of
from lab_files.zarr_arrays import COMPRESSORS, IN_V3, ArrayForm
from lab_files.zarr_volumes import ZarrVolume
from lab_files.zarr_volumes import render as undamaged


def _v2(rng: random.Random) -> ZarrVolume:
    return ZarrVolume(truth_of(rng, rng.choice(["uint8", "uint16"])), rng.choice(["own", "xarray"]))


def _v3(rng: random.Random) -> ZarrVolume:
    truth, style = truth_of(rng, rng.choice(["uint8", "uint16"])), rng.choice(["own", "xarray", "tensorstore"])
    form = ArrayForm(version=3, separator="/", compressor=rng.choice(IN_V3))
    if style == "tensorstore":
        truth = truth.at((0.0, 0.0, 0.0))  # the attribute states no offset
    return ZarrVolume(truth, style, form)


def _old_ome(rng: random.Random) -> ZarrVolume:
    """Versions 0.1 to 0.3: axes t, c, z, y, x, and no transformations."""
    truth = dataclasses.replace(truth_of(rng), voxel_size=None, offset=(0.0, 0.0, 0.0))
    version = rng.choice(["0.1", "0.2", "0.3"])
    form = ArrayForm(separator="." if version == "0.1" else "/")
    return ZarrVolume(truth, "ome", form, axes=list("tczyx"), ome=version)


def _ome(rng: random.Random) -> ZarrVolume:
    version = rng.choice(["0.4", "0.5"])
    form = ArrayForm(separator="/") if version == "0.4" else ArrayForm(version=3, separator="/", compressor="zstd")
    volume = ZarrVolume(truth_of(rng, rng.choice(["uint8", "uint16"])), "ome", form, ome=version)
    if rng.random() < 0.4:
        volume.axes = list("tczyx")
    return volume


def _webknossos(rng: random.Random) -> ZarrVolume:
    truth = truth_of(rng).at((0.0, 0.0, 0.0))
    form = ArrayForm(separator=".", fortran=True) if rng.random() < 0.5 else ArrayForm(version=3, separator="/", compressor="zstd")
    return ZarrVolume(truth, "webknossos", form, axes=list("cxyz"))


def _places_size(volume: ZarrVolume) -> bool:
    """Whether the files state a unit."""
    return volume.style in ("own", "tensorstore", "webknossos") or (volume.style == "ome" and volume.ome in ("0.4", "0.5"))


def _is_plain_v2(volume: ZarrVolume) -> bool:
    return volume.form.version == 2 and bool(volume.truth.voxels.dtype == "uint8")


def array_changes(form: Format) -> None:
    """Other ways to store the same array."""

    @form.preserving("another chunk shape", lambda v: not v.form.sharded)
    def _chunks(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.chunks = tuple(rng.randint(1, n + 2) if n > 1 else 1 for n in volume.data.shape)
        if np.prod([-(-n // c) for n, c in zip(volume.data.shape, volume.form.chunks, strict=True)]) > 60:
            volume.form.chunks = None

    @form.preserving("another compressor")
    def _compressor(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.compressor = rng.choice(list(COMPRESSORS) if volume.form.version == 2 else IN_V3)

    @form.preserving("the other byte order", lambda v: v.truth.voxels.dtype.itemsize > 1)
    def _endian(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.big_endian = not volume.form.big_endian

    @form.preserving("order F, or a transpose codec")
    def _fortran(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.fortran = not volume.form.fortran

    @form.preserving("another separator of chunk keys, stated")
    def _separator(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.separator = "." if volume.form.separator == "/" else "/"

    @form.preserving("the usual separator left out", lambda v: v.form.version == 2 and v.form.separator == ".")
    def _unsaid(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.says_separator = False

    @form.preserving("values of a wider type", lambda v: v.truth.voxels.dtype.itemsize == 1)
    def _wider(volume: ZarrVolume, rng: random.Random) -> None:
        wide = volume.truth.voxels.astype(rng.choice(["uint16", "uint32", "int16"]))
        volume.truth = dataclasses.replace(volume.truth, voxels=wide)

    @form.preserving("another fill value, and all chunks stored")
    def _fill(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.fill = rng.choice([1, 7, 255])

    @form.undecidable("a byte order stated for values of one byte", _is_plain_v2, exact=True)
    def _one_byte(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.extra_members["dtype"] = rng.choice(["<u1", ">u1", "u1"])

    @form.preserving("a chunk of fill values that is not stored")
    def _sparse(volume: ZarrVolume, rng: random.Random) -> None:
        voxels = volume.truth.voxels.copy()
        voxels[:4, :6, :8] = volume.form.fill
        volume.truth = dataclasses.replace(volume.truth, voxels=voxels)
        volume.form.chunks, volume.form.omit_fill = None, True

    @form.preserving("files of other programs in the folder", on_files=True)
    def _bystanders(files: Rendered, rng: random.Random) -> None:
        files.files[f"{files.path}/{rng.choice(['.DS_Store', 'README.txt', 'Thumbs.db'])}"] = b"not a chunk"

    @form.preserving("filters as an empty list or null", lambda v: v.form.version == 2)
    def _filters(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.extra_members["filters"] = rng.choice([[], None])

    @form.preserving("consolidated metadata", lambda f: f"{f.path}/.zarray" in f.documents, on_files=True)
    def _consolidated(files: Rendered, rng: random.Random) -> None:
        root = files.path.split("/")[0]
        held = {k.removeprefix(f"{root}/"): v for k, v in files.documents.items() if k.startswith(root)}
        files.documents[f"{root}/.zmetadata"] = {"zarr_consolidated_format": 1, "metadata": held}


def v3_changes(form: Format) -> None:
    """What only Zarr v3 has."""

    def is_v3(volume: ZarrVolume) -> bool:
        return volume.form.version == 3

    @form.preserving("chunk keys of version 2", is_v3)
    def _keys(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.key_encoding, volume.form.separator = "v2", rng.choice("./")

    @form.preserving("shards", is_v3)
    def _shards(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.chunks, volume.form.sharded, volume.form.index_first = None, True, rng.random() < 0.5

    @form.preserving("a checksum per chunk", is_v3)
    def _crc(volume: ZarrVolume, rng: random.Random) -> None:
        volume.form.crc = True


def axis_changes(form: Format) -> None:
    """The same axes in another order, with another name, or among others of length 1."""

    @form.preserving("axes and voxels in another order", lambda v: v.style != "ome" or v.ome in ("0.4", "0.5"))
    def _permuted(volume: ZarrVolume, rng: random.Random) -> None:
        space = [a for a in volume.axes if a in "zyx"]
        rng.shuffle(space)
        volume.axes = [a for a in volume.axes if a not in "zyx"] + space

    @form.preserving("capital letters in names of axes", lambda v: v.style != "webknossos")
    def _capitals(volume: ZarrVolume, rng: random.Random) -> None:
        volume.shown |= {a: a.upper() for a in volume.axes}

    @form.preserving("further axes of length 1", lambda v: len(v.axes) == 3)
    def _singleton(volume: ZarrVolume, rng: random.Random) -> None:
        volume.axes = rng.choice([["c"], ["t"], ["t", "c"]]) + volume.axes
        volume.form.chunks = None
        if volume.style == "own" and volume.shown.get("c") is None and rng.random() < 0.5:
            volume.shown |= {"c": "c^", "t": "t^"}

    @form.preserving("sizes per stored axis", lambda v: v.style in ("own", "xarray"))
    def _per_axis(volume: ZarrVolume, rng: random.Random) -> None:
        volume.per_stored_axis = True


def size_changes(form: Format) -> None:
    """The same sizes in another unit, or under another name."""

    @form.preserving("another spelling of the unit, the same length", _places_size)
    def _unit(volume: ZarrVolume, rng: random.Random) -> None:
        table = WORDS if volume.style == "ome" else ALL
        volume.units = dict.fromkeys("zyx", rng.choice(sorted(table.items())))

    @form.preserving("another unit per axis", lambda v: _places_size(v) and v.style != "webknossos")
    def _units(volume: ZarrVolume, rng: random.Random) -> None:
        volume.units = {axis: rng.choice(sorted(ALL.items())) for axis in "zyx"}

    @form.preserving("the attribute is called resolution", lambda v: v.style in ("own", "xarray"))
    def _resolution(volume: ZarrVolume, rng: random.Random) -> None:
        volume.size_name = "resolution"

    @form.preserving("whole numbers with a decimal point", on_files=True)
    def _floats(files: Rendered, rng: random.Random) -> None:
        for document in files.documents.values():
            floated(document, ("voxel_size", "resolution", "offset", "scale", "translation", "factor"))


def ome_changes(form: Format) -> None:
    """Other ways to state the same transformation, and entries for other arrays."""

    @form.preserving("the scale divided over level and multiscale")
    def _split(volume: ZarrVolume, rng: random.Random) -> None:
        volume.split = rng.choice([2.0, 0.5, 4.0, 1000.0])

    @form.preserving("the translation stated at the multiscale")
    def _above(volume: ZarrVolume, rng: random.Random) -> None:
        volume.shift_above = True

    @form.preserving("the level in a folder of its own")
    def _nested(volume: ZarrVolume, rng: random.Random) -> None:
        volume.level = rng.choice(["em/s0", "0", "scale0/image", "full"])

    @form.preserving("the array is a coarser level", lambda v: v.factors == (1, 1, 1))
    def _coarser(volume: ZarrVolume, rng: random.Random) -> None:
        volume.factors = rng.choice([(2, 2, 2), (1, 2, 2), (8, 8, 8), (1, 4, 4)])
        volume.level = "s1"

    @form.preserving("another multiscale and other levels")
    def _others(volume: ZarrVolume, rng: random.Random) -> None:
        axes = [{"name": a, "type": "space", "unit": "meter"} for a in "zyx"]
        scale = [{"type": "scale", "scale": [1, 2, 3]}]
        volume.broken["before"] = [{"axes": axes, "datasets": [{"path": "s7", "coordinateTransformations": scale}]}]

    @form.undecidable("the transformations as one sequence", exact=True)
    def _sequence(volume: ZarrVolume, rng: random.Random) -> None:
        volume.wrapped = True

    @form.undecidable("the transformations as one affine", exact=True)
    def _affine(volume: ZarrVolume, rng: random.Random) -> None:
        volume.affine = True

    @form.undecidable("a path with a dot or a slash before it", exact=True)
    def _path(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["path"] = rng.choice(["./{}", "/{}", "{}/"])

    @form.undecidable("the metadata of 0.4 in Zarr v3, or of 0.5 without its version", lambda v: v.form.version == 3, exact=True)
    def _bare(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["bare"] = True

    @form.undecidable("the translation before the scale", lambda v: not v.shift_above, exact=True)
    def _turned(volume: ZarrVolume, rng: random.Random) -> None:
        scale = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
        shift = [plain(n / s) for n, s in zip(volume.numbers(volume.truth.offset, 0), scale, strict=True)]
        volume.split, volume.factors = 1.0, (1, 1, 1)
        volume.broken["level"] = [{"type": "translation", "translation": shift}, {"type": "scale", "scale": scale}]

    @form.undecidable("an identity after the transformations", exact=True)
    def _identity(volume: ZarrVolume, rng: random.Random) -> None:
        volume.more.append({"type": "identity"})


def linked_changes(form: Format) -> None:
    """The array under another path than its own."""

    @form.undecidable("a link to the array in another folder", exact=True, on_files=True)
    def _link(files: Rendered, rng: random.Random) -> None:
        files.linked = "path"


def stated_changes(form: Format) -> None:
    """The user states what the file does not, or states wrongly (docs/reference/configuration.md, volume)."""

    @form.preserving("sizes stated by the user, not by the file", lambda v: v.style == "own")
    def _sizes(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["stated"] = True
        wrong: Any = rng.choice([None, [1, 1, 1], "40x8x4", [0, 0, 0]])
        volume.broken["attributes"] = {"voxel_size": wrong, "resolution": None, "offset": None, "units": None}

    @form.preserving("names of axes stated by the user, not by the file", lambda v: v.style == "own")
    def _axes(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["axes_stated"] = True
        volume.broken["names"] = rng.choice([["a", "b", "d"], ["x"], ["z", "z", "z"]])


def stated(files: Rendered, volume: ZarrVolume) -> Rendered:
    """The files, with what the user states."""
    if "stated" in volume.broken:
        files.stated |= {"voxel_size": volume.truth.voxel_size, "offset": volume.truth.offset}
    if "axes_stated" in volume.broken:
        files.stated["axes"] = tuple(volume.axes)
    return files


def floated(value: Any, names: tuple[str, ...], inside: bool = False) -> None:
    """Turn whole numbers into floats, in members of these names."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        here = inside or key in names
        if here and type(inner) is int:
            value[key] = float(inner)
        floated(inner, names, here)


def _homes(files: Rendered) -> list[dict[str, Any]]:
    """Attributes of nodes: `.zattrs` is one object; `zarr.json` has the member `attributes`."""
    found = [d for name, d in files.documents.items() if name.endswith(".zattrs") and isinstance(d, dict)]
    return found + [d["attributes"] for name, d in files.documents.items() if name.endswith("zarr.json")]


def _main(files: Rendered) -> list[str]:
    needed = [f"{files.path}/.zarray", f"{files.path}/zarr.json"]
    says = [n for n, d in files.documents.items() if "multiscales" in str(d) or n.endswith((".zattrs", "properties.json"))]
    return sorted({n for n in [*needed, *says] if n in files.documents})


def render(volume: ZarrVolume) -> Rendered:
    """The files; a chunk is damaged here, when the chunks are known."""
    return stated(zarr_damage.damaged(undamaged(volume), volume), volume)


def formats() -> list[Format]:
    """The rows of Zarr."""
    v2, v3 = Format("Zarr v2", _v2, render), Format("Zarr v3", _v3, render)
    ome, old = Format("OME-Zarr 0.4 and 0.5", _ome, render), Format("OME-Zarr 0.1 to 0.3", _old_ome, render)
    webknossos = Format("WEBKNOSSOS", _webknossos, render)
    for form in (v2, v3, old, ome, webknossos):
        json_changes.declare(form, _homes, _main)
        form.having(array_changes, axis_changes, size_changes, zarr_damage.array_damage)
        form.having(path_changes.declare, path_changes.trailing_slash, linked_changes)
    for form in (v3, ome, webknossos):
        v3_changes(form)
    for form in (v2, v3, ome, webknossos):
        zarr_damage.size_damage(form)
    v2.having(stated_changes)
    v3.having(stated_changes)
    ome.having(ome_changes, zarr_damage.ome_damage)
    webknossos.having(zarr_damage.webknossos_damage)
    return [v2, v3, old, ome, webknossos]
