"""Changes that take the meaning from an array in Zarr."""

from __future__ import annotations

import random
from typing import Any

from campaign.mutation import Format
from campaign.spellings import NO_LENGTH, NO_SIZE
from lab_files.specimen import Rendered
from lab_files.zarr_arrays import CHECKED
from lab_files.zarr_volumes import ZarrVolume


def _chunk_files(files: Rendered) -> list[str]:
    """Paths of the chunk files: all that is no metadata and no file of another program."""
    strangers = (".DS_Store", "README.txt", "Thumbs.db")
    return sorted(n for n in files.files if n.startswith(files.path + "/") and not n.endswith(strangers))


def _metadata(files: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = files.documents.get(f"{files.path}/zarr.json") or files.documents[f"{files.path}/.zarray"]
    return found


def array_damage(form: Format) -> None:
    """Lost chunks, and metadata that describe no array of one grey volume."""

    @form.destroying("all chunk files missing", on_files=True)
    def _missing(files: Rendered, rng: random.Random) -> None:
        for name in _chunk_files(files):
            del files.files[name]

    @form.destroying("all chunk files under other names", on_files=True)
    def _renamed(files: Rendered, rng: random.Random) -> None:
        ending = rng.choice([".bak", ".gz", ".tmp", " (1)"])
        for name in _chunk_files(files):
            files.files[name + ending] = files.files.pop(name)

    @form.destroying("all chunk files one folder deeper", on_files=True)
    def _deeper(files: Rendered, rng: random.Random) -> None:
        for name in _chunk_files(files):
            files.files[name.replace(files.path, f"{files.path}/old", 1)] = files.files.pop(name)

    @form.destroying("a dtype that is a word", on_files=True)
    def _dtype(files: Rendered, rng: random.Random) -> None:
        document = _metadata(files)
        document["data_type" if "data_type" in document else "dtype"] = rng.choice(["grey", "uint9", "|U4", "", 8, None])

    @form.destroying("a shape that no array has", on_files=True)
    def _shape(files: Rendered, rng: random.Random) -> None:
        document = _metadata(files)
        shape = document["shape"]
        shape[rng.randrange(len(shape))] = rng.choice([-1, -14, "ten", None, 0])

    @form.destroying("a codec that nobody knows", on_files=True)
    def _codec(files: Rendered, rng: random.Random) -> None:
        document = _metadata(files)
        if "codecs" in document:
            document["codecs"].append({"name": "lab.secret", "configuration": {}})
        else:
            document["compressor"] = {"id": "lab-secret", "level": 1}

    @form.destroying("a Zarr version that does not exist", on_files=True)
    def _version(files: Rendered, rng: random.Random) -> None:
        _metadata(files)["zarr_format"] = rng.choice([0, 4, 7, "two"])

    @form.destroying("colours or times", lambda v: v.form.chunks is None and not v.form.sharded)
    def _channels(volume: ZarrVolume, rng: random.Random) -> None:
        extra = rng.choice([a for a in volume.axes if a not in "zyx"] or ["c"])
        if extra not in volume.axes:
            volume.axes = [extra, *volume.axes]
        volume.lengths[extra] = rng.choice([2, 3])

    @form.destroying("changed bytes in a chunk with a checksum", _is_checked)
    def _corrupt(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["corrupt"] = True

    @form.destroying("a cut chunk file", _notices_length)
    def _cut(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["cut"] = True

    @form.undecidable("bytes of a chunk flipped", on_files=True)
    def _flip(files: Rendered, rng: random.Random) -> None:
        name = rng.choice(_chunk_files(files))
        content = bytearray(files.files[name])
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        files.files[name] = bytes(content)

    @form.undecidable("the separator of chunk keys does not fit the files", exact=True, on_files=True)
    def _separator(files: Rendered, rng: random.Random) -> None:
        document = _metadata(files)
        if "chunk_key_encoding" in document:
            settings = document["chunk_key_encoding"]["configuration"]
            settings["separator"] = "." if settings["separator"] == "/" else "/"
        elif document.pop("dimension_separator", ".") == ".":
            document["dimension_separator"] = "/"


def _first_is_whole(volume: ZarrVolume) -> bool:
    """Whether the first chunk is stored and lies inside the array.

    The package zarrs decodes a chunk that reaches over the end of the array only in part, and then skips checksums.
    """
    chunks = volume.form.chunks or (1,) * volume.data.ndim
    return not volume.form.omit_fill and all(c <= n for c, n in zip(chunks, volume.data.shape, strict=True))


def _is_checked(volume: ZarrVolume) -> bool:
    return _first_is_whole(volume) and (volume.form.crc or volume.form.compressor in CHECKED)


def _notices_length(volume: ZarrVolume) -> bool:
    """Whether a chunk that is too short is noticed. Blosc (c-blosc 1) reads what lies behind the end in memory."""
    return _first_is_whole(volume) and not volume.form.sharded and volume.form.compressor != "blosc"


def damaged(files: Rendered, volume: ZarrVolume) -> Rendered:
    """Change the first chunk, if the specimen says so: after rendering, when the chunks are known."""
    if not {"corrupt", "cut"} & set(volume.broken):
        return files
    name = _chunk_files(files)[0]
    content = bytearray(files.files[name])
    if "cut" in volume.broken:
        content = content[: len(content) // 8]
    elif volume.form.sharded:  # the first inner chunk; an index at the start has 16 bytes per inner chunk and a checksum
        inner = 2**volume.data.ndim
        content[(16 * inner + 4 if volume.form.index_first else 0) + 40] ^= 0x55
    else:
        content[len(content) // 2] ^= 0x55
    files.files[name] = bytes(content)
    return files


def size_damage(form: Format) -> None:
    """Axes and sizes that mean nothing."""

    def has_names(volume: ZarrVolume) -> bool:
        return volume.style != "webknossos" and "axes_stated" not in volume.broken

    def states_size(volume: ZarrVolume) -> bool:
        return volume.style in ("own", "xarray") and "stated" not in volume.broken

    @form.destroying("an axis named twice", has_names)
    def _twice(volume: ZarrVolume, rng: random.Random) -> None:
        names = volume.names
        names[names.index(volume.shown.get("z", "z"))] = volume.shown.get("x", "x")
        volume.broken["names"] = names

    @form.destroying("too few or too many axes named", has_names)
    def _count(volume: ZarrVolume, rng: random.Random) -> None:
        names = volume.names
        volume.broken["names"] = rng.choice([names[:-1], [*names, "w"], ["q", *names]])

    @form.destroying("names that are no axes of space", has_names)
    def _names(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["names"] = [rng.choice("abdefg") + str(i) for i, _ in enumerate(volume.axes)]

    @form.destroying("a unit that is no length", lambda v: v.style != "xarray" and "stated" not in v.broken)
    def _unit(volume: ZarrVolume, rng: random.Random) -> None:
        wrong = (rng.choice(NO_LENGTH), 1.0)
        volume.units = dict.fromkeys("zyx", wrong) if rng.random() < 0.5 else volume.units | {rng.choice("zx"): wrong}
        if volume.style == "webknossos":
            volume.units = dict.fromkeys("zyx", wrong)

    @form.destroying("a voxel size that is no size", states_size)
    def _size(volume: ZarrVolume, rng: random.Random) -> None:
        size = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1, every=False)
        size[rng.randrange(3)] = rng.choice(NO_SIZE)
        volume.broken["attributes"] = {volume.size_name: size}

    @form.destroying("a voxel size of the wrong length", states_size)
    def _length(volume: ZarrVolume, rng: random.Random) -> None:
        size = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1, every=False)
        volume.broken["attributes"] = {volume.size_name: rng.choice([size[:2], [*size, 4, 4, 4], "4x4x40", {"x": 4}])}

    @form.destroying("an offset that is no place", states_size)
    def _offset(volume: ZarrVolume, rng: random.Random) -> None:
        wrong: list[Any] = [[0, float("nan"), 0], ["a", 0, 0], [0, 0], [float("inf"), 0, 0], [None, 0, 0], "origin"]
        volume.broken["attributes"] = {"offset": rng.choice(wrong)}

    @form.destroying("a dimension_units that is none", lambda v: v.style == "tensorstore")
    def _dimension_units(volume: ZarrVolume, rng: random.Random) -> None:
        volume.broken["attributes"] = {"dimension_units": rng.choice([["4 nm"], ["-4 nm"] * len(volume.axes), ["nan nm"] * len(volume.axes), 4])}


def ome_damage(form: Format) -> None:
    """Transformations that place nothing."""

    @form.destroying("a scale that is no size")
    def _scale(volume: ZarrVolume, rng: random.Random) -> None:
        scale: list[Any] = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
        scale[volume.axes.index(rng.choice("zyx"))] = rng.choice(NO_SIZE)
        volume.broken["level"] = [{"type": "scale", "scale": scale}]

    @form.destroying("a scale or translation of the wrong length")
    def _length(volume: ZarrVolume, rng: random.Random) -> None:
        scale = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
        shift = volume.numbers(volume.truth.offset, 0)
        wrong = rng.choice([(scale[:-1], shift), (scale, shift[:-1]), ([*scale, 1], shift), (scale, [*shift, 0])])
        volume.broken["level"] = [{"type": "scale", "scale": wrong[0]}, {"type": "translation", "translation": wrong[1]}]

    @form.destroying("a translation that is no place")
    def _shift(volume: ZarrVolume, rng: random.Random) -> None:
        shift: list[Any] = volume.numbers(volume.truth.offset, 0)
        shift[volume.axes.index(rng.choice("zyx"))] = rng.choice([float("nan"), float("inf"), "here", None, []])
        scale = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
        volume.broken["level"] = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]

    @form.destroying("a transformation that cannot be read")
    def _kind(volume: ZarrVolume, rng: random.Random) -> None:
        n = len(volume.axes)
        wrong: list[Any] = [
            {"type": "scale", "path": "transform/scale"}, {"type": "displacements", "path": "field"},
            {"type": "rotation", "rotation": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]}, {"scale": [1] * n}, "scale", 4,
            {"type": "scale"}, {"type": "bijection", "forward": {}, "inverse": {}},
        ]  # fmt: skip
        volume.broken["level"] = [rng.choice(wrong)]


def webknossos_damage(form: Format) -> None:
    """An order of axes or a scale that WEBKNOSSOS cannot mean."""

    @form.destroying("an axisOrder that fits no array")
    def _order(volume: ZarrVolume, rng: random.Random) -> None:
        wrong: list[Any] = [{"c": 0, "x": 1, "y": 2}, {"c": 0, "x": 1, "y": 1, "z": 2}, {"x": 7, "y": 8, "z": 9}, "cxyz",
                            {"c": 0, "x": "1", "y": "two", "z": 3}]  # fmt: skip
        volume.broken["order"] = rng.choice(wrong)

    @form.destroying("a scale that is no size")
    def _scale(volume: ZarrVolume, rng: random.Random) -> None:
        factor: list[Any] = [4, 8, 40]
        factor[rng.randrange(3)] = rng.choice(NO_SIZE)
        wrong: list[Any] = [{"factor": factor, "unit": "nanometer"}, {"factor": [4, 8], "unit": "nanometer"}, [4, 8], "4 8 40"]
        volume.broken["scale"] = rng.choice(wrong)
