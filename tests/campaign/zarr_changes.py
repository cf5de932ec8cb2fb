"""Changes that keep what an array in Zarr means."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
from lab_files.specimen import Rendered
from lab_files.zarr_arrays import COMPRESSORS, IN_V3
from lab_files.zarr_volumes import ZarrVolume

from campaign import json_changes
from campaign.mutation import Changes
from campaign.spellings import ALL, WORDS


def _places_size(volume: ZarrVolume) -> bool:
    """Whether the files state a unit."""
    return volume.style in ("own", "tensorstore", "webknossos") or (
        volume.style == "ome" and volume.ome in ("0.4", "0.5")
    )


def _is_plain_v2(volume: ZarrVolume) -> bool:
    return volume.form.version == 2 and bool(volume.truth.voxels.dtype == "uint8")


#: Other ways to store the same array.
ARRAY_CHANGES = Changes()


@ARRAY_CHANGES.preserving("another chunk shape", lambda v: not v.form.sharded)
def _chunks(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.chunks = tuple(rng.randint(1, n + 2) if n > 1 else 1 for n in volume.data.shape)
    if np.prod([-(-n // c) for n, c in zip(volume.data.shape, volume.form.chunks, strict=True)]) > 60:
        volume.form.chunks = None


@ARRAY_CHANGES.preserving("another compressor")
def _compressor(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.compressor = rng.choice(list(COMPRESSORS) if volume.form.version == 2 else IN_V3)


@ARRAY_CHANGES.preserving("the other byte order", lambda v: v.truth.voxels.dtype.itemsize > 1)
def _endian(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.big_endian = not volume.form.big_endian


@ARRAY_CHANGES.preserving("order F, or a transpose codec")
def _fortran(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.fortran = not volume.form.fortran


@ARRAY_CHANGES.preserving("another separator of chunk keys, stated")
def _separator(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.separator = "." if volume.form.separator == "/" else "/"


@ARRAY_CHANGES.preserving("the usual separator left out", lambda v: v.form.version == 2 and v.form.separator == ".")
def _unsaid(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.says_separator = False


@ARRAY_CHANGES.preserving("values of a wider type", lambda v: v.truth.voxels.dtype.itemsize == 1)
def _wider(volume: ZarrVolume, rng: random.Random) -> None:
    wide = volume.truth.voxels.astype(rng.choice(["uint16", "uint32", "int16"]))
    volume.truth = dataclasses.replace(volume.truth, voxels=wide)


@ARRAY_CHANGES.preserving("another fill value, and all chunks stored")
def _fill(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.fill = rng.choice([1, 7, 255])


@ARRAY_CHANGES.undecidable("a byte order stated for values of one byte", _is_plain_v2, exact=True)
def _one_byte(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.extra_members["dtype"] = rng.choice(["<u1", ">u1", "u1"])


@ARRAY_CHANGES.preserving("a chunk of fill values that is not stored")
def _sparse(volume: ZarrVolume, rng: random.Random) -> None:
    voxels = volume.truth.voxels.copy()
    voxels[:4, :6, :8] = volume.form.fill
    volume.truth = dataclasses.replace(volume.truth, voxels=voxels)
    volume.form.chunks, volume.form.omit_fill = None, True


@ARRAY_CHANGES.preserving("files of other programs in the folder", on_files=True)
def _bystanders(files: Rendered, rng: random.Random) -> None:
    files.files[f"{files.path}/{rng.choice(['.DS_Store', 'README.txt', 'Thumbs.db'])}"] = b"not a chunk"


@ARRAY_CHANGES.preserving("filters as an empty list or null", lambda v: v.form.version == 2)
def _filters(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.extra_members["filters"] = rng.choice([[], None])


@ARRAY_CHANGES.preserving("consolidated metadata", lambda f: f"{f.path}/.zarray" in f.documents, on_files=True)
def _consolidated(files: Rendered, rng: random.Random) -> None:
    root = files.path.split("/")[0]
    held = {k.removeprefix(f"{root}/"): v for k, v in files.documents.items() if k.startswith(root)}
    files.documents[f"{root}/.zmetadata"] = {"zarr_consolidated_format": 1, "metadata": held}


#: What only Zarr v3 has.
V3_CHANGES = Changes()


def is_v3(volume: ZarrVolume) -> bool:
    return volume.form.version == 3


@V3_CHANGES.preserving("chunk keys of version 2", is_v3)
def _keys(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.key_encoding, volume.form.separator = "v2", rng.choice("./")


@V3_CHANGES.preserving("shards", is_v3)
def _shards(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.chunks, volume.form.sharded, volume.form.index_first = None, True, rng.random() < 0.5


@V3_CHANGES.preserving("a checksum per chunk", is_v3)
def _crc(volume: ZarrVolume, rng: random.Random) -> None:
    volume.form.crc = True


#: The same axes in another order, with another name, or among others of length 1.
AXIS_CHANGES = Changes()


@AXIS_CHANGES.preserving("axes and voxels in another order", lambda v: v.style != "ome" or v.ome in ("0.4", "0.5"))
def _permuted(volume: ZarrVolume, rng: random.Random) -> None:
    space = [a for a in volume.axes if a in "zyx"]
    rng.shuffle(space)
    volume.axes = [a for a in volume.axes if a not in "zyx"] + space


@AXIS_CHANGES.preserving("capital letters in names of axes", lambda v: v.style != "webknossos")
def _capitals(volume: ZarrVolume, rng: random.Random) -> None:
    volume.shown |= {a: a.upper() for a in volume.axes}


@AXIS_CHANGES.preserving("further axes of length 1", lambda v: len(v.axes) == 3)
def _singleton(volume: ZarrVolume, rng: random.Random) -> None:
    volume.axes = rng.choice([["c"], ["t"], ["t", "c"]]) + volume.axes
    volume.form.chunks = None
    if volume.style == "own" and volume.shown.get("c") is None and rng.random() < 0.5:
        volume.shown |= {"c": "c^", "t": "t^"}


@AXIS_CHANGES.preserving("sizes per stored axis", lambda v: v.style in ("own", "xarray"))
def _per_axis(volume: ZarrVolume, rng: random.Random) -> None:
    volume.per_stored_axis = True


#: The same sizes in another unit, or under another name.
SIZE_CHANGES = Changes()


@SIZE_CHANGES.preserving("another spelling of the unit, the same length", _places_size)
def _unit(volume: ZarrVolume, rng: random.Random) -> None:
    table = WORDS if volume.style == "ome" else ALL
    volume.units = dict.fromkeys("zyx", rng.choice(sorted(table.items())))


@SIZE_CHANGES.preserving("another unit per axis", lambda v: _places_size(v) and v.style != "webknossos")
def _units(volume: ZarrVolume, rng: random.Random) -> None:
    volume.units = {axis: rng.choice(sorted(ALL.items())) for axis in "zyx"}


@SIZE_CHANGES.preserving("the attribute is called resolution", lambda v: v.style in ("own", "xarray"))
def _resolution(volume: ZarrVolume, rng: random.Random) -> None:
    volume.size_name = "resolution"


@SIZE_CHANGES.preserving("whole numbers with a decimal point", on_files=True)
def _floats(files: Rendered, rng: random.Random) -> None:
    for document in files.documents.values():
        json_changes.floated(document, ("voxel_size", "resolution", "offset", "scale", "translation", "factor"))


#: The array under another path than its own.
LINKED_CHANGES = Changes()


@LINKED_CHANGES.undecidable("a link to the array in another folder", exact=True, on_files=True)
def _link(files: Rendered, rng: random.Random) -> None:
    files.linked = "path"


#: The user states what the file does not, or states wrongly (docs/reference/configuration.md, volume).
STATED_CHANGES = Changes()


@STATED_CHANGES.preserving("sizes stated by the user, not by the file", lambda v: v.style == "own")
def _sizes(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["stated"] = True
    wrong: Any = rng.choice([None, [1, 1, 1], "40x8x4", [0, 0, 0]])
    volume.broken["attributes"] = {"voxel_size": wrong, "resolution": None, "offset": None, "units": None}


@STATED_CHANGES.preserving("names of axes stated by the user, not by the file", lambda v: v.style == "own")
def _axes(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["axes_stated"] = True
    volume.broken["names"] = rng.choice([["a", "b", "d"], ["x"], ["z", "z", "z"]])
