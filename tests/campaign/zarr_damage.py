"""Changes that take the meaning from the chunks and the metadata of an array in Zarr."""

from __future__ import annotations

import random
from typing import Any

from lab_files.specimen import Rendered
from lab_files.zarr_arrays import CHECKED
from lab_files.zarr_volumes import ZarrVolume

from campaign.mutation import Changes, lose, rename


def _chunk_files(files: Rendered) -> list[str]:
    """Paths of the chunk files: all that is no metadata and no file of another program."""
    strangers = (".DS_Store", "README.txt", "Thumbs.db")
    return sorted(n for n in files.files if n.startswith(files.path + "/") and not n.endswith(strangers))


def _metadata(files: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = files.documents.get(f"{files.path}/zarr.json") or files.documents[f"{files.path}/.zarray"]
    return found


def _is_checked(volume: ZarrVolume) -> bool:
    return volume.form.crc or volume.form.compressor in CHECKED


def _notices_length(volume: ZarrVolume) -> bool:
    """Whether it is noticed that the first chunk is cut: it is stored, lies inside the array, and is not Blosc.

    Blosc (c-blosc 1.21) reads what lies in memory behind the end of a chunk that it stored without compression.
    """
    chunks = volume.form.chunks or (1,) * volume.data.ndim
    inside = all(c <= n for c, n in zip(chunks, volume.data.shape, strict=True))
    return inside and not volume.form.omit_fill and not volume.form.sharded and volume.form.compressor != "blosc"


#: Lost chunks, and metadata that describe no array of one grey volume.
ARRAY_DAMAGE = Changes()


@ARRAY_DAMAGE.destroying("all chunk files missing", on_files=True)
def _missing(files: Rendered, rng: random.Random) -> None:
    lose(files, _chunk_files(files))


@ARRAY_DAMAGE.destroying("all chunk files under other names", on_files=True)
def _renamed(files: Rendered, rng: random.Random) -> None:
    rename(files, _chunk_files(files), rng.choice([".bak", ".gz", ".tmp", " (1)"]))


@ARRAY_DAMAGE.destroying("all chunk files one folder deeper", on_files=True)
def _deeper(files: Rendered, rng: random.Random) -> None:
    for name in _chunk_files(files):
        files.files[name.replace(files.path, f"{files.path}/old", 1)] = files.files.pop(name)


@ARRAY_DAMAGE.destroying("a dtype that is a word", on_files=True)
def _dtype(files: Rendered, rng: random.Random) -> None:
    document = _metadata(files)
    document["data_type" if "data_type" in document else "dtype"] = rng.choice(["grey", "uint9", "|U4", "", 8, None])


@ARRAY_DAMAGE.destroying("a shape that no array has", on_files=True)
def _shape(files: Rendered, rng: random.Random) -> None:
    document = _metadata(files)
    shape = document["shape"]
    shape[rng.randrange(len(shape))] = rng.choice([-1, -14, "ten", None, 0])


@ARRAY_DAMAGE.destroying("a codec that nobody knows", on_files=True)
def _codec(files: Rendered, rng: random.Random) -> None:
    document = _metadata(files)
    if "codecs" in document:
        document["codecs"].append({"name": "lab.secret", "configuration": {}})
    else:
        document["compressor"] = {"id": "lab-secret", "level": 1}


@ARRAY_DAMAGE.destroying("a Zarr version that does not exist", on_files=True)
def _version(files: Rendered, rng: random.Random) -> None:
    _metadata(files)["zarr_format"] = rng.choice([0, 4, 7, "two"])


@ARRAY_DAMAGE.destroying("colours or times", lambda v: v.form.chunks is None and not v.form.sharded)
def _channels(volume: ZarrVolume, rng: random.Random) -> None:
    extra = rng.choice([a for a in volume.axes if a not in "zyx"] or ["c"])
    if extra not in volume.axes:
        volume.axes = [extra, *volume.axes]
    volume.lengths[extra] = rng.choice([2, 3])


@ARRAY_DAMAGE.destroying("changed bytes in a chunk with a checksum", _is_checked)
def _corrupt(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["corrupt"] = rng.random()


@ARRAY_DAMAGE.destroying("a cut chunk file", _notices_length)
def _cut(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["cut"] = True


@ARRAY_DAMAGE.undecidable("bytes of a chunk flipped", on_files=True)
def _flip(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_chunk_files(files))
    content = bytearray(files.files[name])
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    files.files[name] = bytes(content)


@ARRAY_DAMAGE.undecidable("the separator of chunk keys does not fit the files", exact=True, on_files=True)
def _separator(files: Rendered, rng: random.Random) -> None:
    document = _metadata(files)
    if "chunk_key_encoding" in document:
        settings = document["chunk_key_encoding"]["configuration"]
        settings["separator"] = "." if settings["separator"] == "/" else "/"
    elif document.pop("dimension_separator", ".") == ".":
        document["dimension_separator"] = "/"


def damaged(files: Rendered, volume: ZarrVolume) -> Rendered:
    """Change a chunk, if the specimen says so: after rendering, when the chunks are known."""
    names = _chunk_files(files)
    if "cut" in volume.broken:  # the first one: what is cut off from one at the end may lie outside the array
        files.files[names[0]] = files.files[names[0]][: len(files.files[names[0]]) // 8]
    if "corrupt" in volume.broken:
        name = names[int(volume.broken["corrupt"] * len(names))]
        content = bytearray(files.files[name])
        place = len(content) // 2
        if volume.form.sharded:  # the first inner chunk; an index at the start has 16 bytes per inner chunk and 4 more
            place = 40 + (16 * 2**volume.data.ndim + 4 if volume.form.index_first else 0)
        content[place] ^= 0x55
        files.files[name] = bytes(content)
    return files
