"""The row of HDF5, and its changes."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import h5py
import numpy as np
from lab_files.hdf5_volumes import NUMBERS, Hdf5Volume, axistags
from lab_files.specimen import Rendered, truth_of

from campaign import path_changes
from campaign.hdf5_damage import rendered
from campaign.mutation import Changes, Format, cut_off
from campaign.spellings import NO_SIZE

STORAGES: tuple[dict[str, Any], ...] = (
    {}, {"chunks": (3, 5, 6)}, {"chunks": (4, 4, 5), "compression": "gzip"},
    {"chunks": (2, 6, 6), "compression": "lzf"},
    {"chunks": (4, 6, 6), "fletcher32": True}, {"chunks": (4, 6, 6), "shuffle": True, "compression": "gzip"},
    {"chunks": (6, 6, 6), "compression": "gzip", "fletcher32": True},
    {"chunks": (3, 5, 6), "maxshape": (None, None, None)},
    {"chunks": (4, 6, 6), "scaleoffset": 0},
)  # fmt: skip


def _make(rng: random.Random) -> Hdf5Volume:
    truth = truth_of(rng, rng.choice(["uint8", "uint8", "uint16"]))
    style = rng.choice(["cremi", "cremi", "um", "bare"])
    if style == "um":
        truth = truth.at((0.0, 0.0, 0.0))  # it states no offset
    return Hdf5Volume(truth, style=style)


def _is_plain(volume: Hdf5Volume) -> bool:
    return volume.container == "plain" and len(volume.axes) == 3


#: Other ways to store and to state the same.
SAME_MEANING = Changes()


@SAME_MEANING.preserving("another storage", lambda v: len(v.axes) == 3)
def _storage(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.storage = rng.choice(STORAGES)


@SAME_MEANING.preserving("the other byte order", lambda v: v.truth.voxels.dtype.itemsize > 1)
def _endian(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.big_endian = not volume.big_endian


@SAME_MEANING.preserving("the newest form of the file")
def _libver(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.libver = "latest"


@SAME_MEANING.preserving("numbers of another type")
def _number(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.number = rng.choice(list(NUMBERS))


@SAME_MEANING.preserving("another name of the dataset")
def _name(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.dataset = rng.choice(["main", "a/b/c", "exported_data", "t00000/s00/0/cells", "volume in µm"])


@SAME_MEANING.preserving("the dataset named")
def _named(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.named = True


@SAME_MEANING.preserving("further datasets of other ranks")
def _others(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.others = True


@SAME_MEANING.preserving("axistags that say z, y, x", lambda v: not v.tags)
def _tags(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.tags = True


@SAME_MEANING.preserving(
    "axes and voxels in another order, as axistags say", lambda v: v.style == "bare" and len(v.axes) == 3
)
def _permuted(volume: Hdf5Volume, rng: random.Random) -> None:
    rng.shuffle(volume.axes)
    volume.tags = True


@SAME_MEANING.preserving(
    "axes in another order, as dimension labels say",
    lambda v: v.style == "bare" and len(v.axes) == 3 and not v.tags,
)
def _labels(volume: Hdf5Volume, rng: random.Random) -> None:
    rng.shuffle(volume.axes)
    volume.labels = True


@SAME_MEANING.preserving("chunks that were never written, which read as 0", lambda v: len(v.axes) == 3)
def _sparse(volume: Hdf5Volume, rng: random.Random) -> None:
    voxels = volume.truth.voxels.copy()
    voxels[:3] = 0
    volume.truth, volume.sparse = dataclasses.replace(volume.truth, voxels=voxels), True


@SAME_MEANING.preserving("a channel of length 1, as axistags say", lambda v: len(v.axes) == 3 and v.style == "bare")
def _channel(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.axes = [*volume.axes, "c"] if rng.random() < 0.7 else ["t", *volume.axes]
    volume.tags, volume.storage, volume.named = True, {}, True


@SAME_MEANING.preserving("a virtual dataset", lambda v: v.container == "plain")
def _virtual(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.container = "virtual"


@SAME_MEANING.preserving("an external link", lambda v: v.container == "plain")
def _external(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.container, volume.named = "external_link", True


@SAME_MEANING.preserving("a soft link", lambda v: v.container == "plain")
def _soft(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.container, volume.named = "soft_link", True


@SAME_MEANING.preserving("unknown attributes")
def _unknown(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.attributes |= rng.choice(
        [{"note": "em"}, {"comment": np.bytes_(b"\xc3\xa9")}, {"drange": [0, 255]}, {"n": 3}]
    )


@SAME_MEANING.preserving("bytes before the file and after it", lambda f: len(f.files) == 1, on_files=True)
def _appended(files: Rendered, rng: random.Random) -> None:
    files.files[files.path] += b"\0" * rng.choice([1, 512, 4000])


@SAME_MEANING.preserving("another ending of the name", on_files=True)
def _ending(files: Rendered, rng: random.Random) -> None:
    new = rng.choice(["v.hdf5", "v.hdf", "V.H5", "v 1.h5"])
    content = files.files.pop(files.path)
    files.path = files.path.replace("v.h5", new)
    files.files[files.path] = content


#: Lost parts, and attributes that place nothing.
NO_MEANING = Changes()


@NO_MEANING.destroying(
    "the file of a virtual dataset or external link lost",
    lambda v: v.container in ("plain", "virtual", "external_link"),
)
def _lost(volume: Hdf5Volume, rng: random.Random) -> None:
    if volume.container == "plain":
        volume.container = rng.choice(["virtual", "external_link"])
    volume.lost, volume.named = True, True


@NO_MEANING.destroying("a file cut off", on_files=True)
def _cut(files: Rendered, rng: random.Random) -> None:
    cut_off(files, rng)


@NO_MEANING.destroying("a file that is no HDF5", on_files=True)
def _no_file(files: Rendered, rng: random.Random) -> None:
    files.files[files.path] = rng.choice([b"", b"hello", b"\x89PNG\r\n\x1a\n" * 200, b"\0" * 5000])


@NO_MEANING.destroying(
    "changed bytes in a chunk with a checksum", lambda v: v.container == "plain" and len(v.axes) == 3
)
def _corrupt(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.storage = rng.choice([s for s in STORAGES if s.get("fletcher32") or s.get("compression") == "gzip"])
    volume.attributes |= {"corrupt": rng.random()}


@NO_MEANING.destroying("a voxel size that is no size", lambda v: v.style in ("cremi", "um"))
def _size(volume: Hdf5Volume, rng: random.Random) -> None:
    size: list[Any] = [40.0, 8.0, 4.0]
    size[rng.randrange(3)] = rng.choice([n for n in NO_SIZE if isinstance(n, int | float)])
    volume.attributes |= {_size_name(volume): rng.choice([size, size, np.asarray(size, np.float32), "4x8x40", "forty"])}


@NO_MEANING.destroying("a voxel size of the wrong length", lambda v: v.style in ("cremi", "um"))
def _length(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.attributes |= {_size_name(volume): rng.choice([[40.0, 8.0], [40.0, 8.0, 4.0, 1.0], [], h5py.Empty("f8")])}


@NO_MEANING.destroying("an offset that is no place", lambda v: v.style == "cremi")
def _offset(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.attributes |= {
        "offset": rng.choice([[0.0, float("nan"), 0.0], [0.0, float("inf"), 0.0], [1.0, 2.0], "origin"])
    }


@NO_MEANING.destroying("axistags that fit no array", lambda v: len(v.axes) == 3)
def _tags(volume: Hdf5Volume, rng: random.Random) -> None:
    wrong = rng.choice(
        [axistags(list("zzx")), axistags(list("zy")), axistags(list("tczyx")), axistags(list("tyx")), "zyx?", "{}"]
    )
    volume.attributes |= {"axistags": wrong}


@NO_MEANING.destroying("colours or times", lambda v: v.style == "bare")
def _colours(volume: Hdf5Volume, rng: random.Random) -> None:
    extra = next((a for a in volume.axes if a not in "zyx"), None)
    if extra is None:
        extra = rng.choice("ct")
        volume.axes = [*volume.axes, extra] if rng.random() < 0.5 else [extra, *volume.axes]
    volume.lengths[extra] = rng.choice([2, 3])
    volume.tags, volume.storage, volume.named = rng.random() < 0.5, {}, True


@NO_MEANING.destroying("a dataset that was never written", lambda v: v.container == "plain")
def _unwritten(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.unwritten = True


@NO_MEANING.destroying("two arrays, and none named")
def _two(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.dataset, volume.named, volume.container = "a/b", False, "plain"
    volume.attributes |= {"second": True}


@NO_MEANING.destroying("no such dataset", on_files=True)
def _none(files: Rendered, rng: random.Random) -> None:
    files.dataset = rng.choice(["nothing", "volumes", "/", "volumes/raw/more", "a\0b"])


@NO_MEANING.destroying("values that are no numbers", lambda v: v.container == "plain")
def _values(volume: Hdf5Volume, rng: random.Random) -> None:
    volume.attributes |= {"values": rng.choice(["text", "compound", "complex"])}


#: Bytes of the container; HDF5 itself decodes them, so a process of its own opens the file.
UNDECIDABLE = Changes()


@UNDECIDABLE.undecidable("bytes of the file flipped", on_files=True, native=True)
def _flip(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(sorted(files.files))
    content = bytearray(files.files[name])
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    files.files[name] = bytes(content)


@UNDECIDABLE.undecidable("bytes of the head of the file exchanged", on_files=True, native=True)
def _head(files: Rendered, rng: random.Random) -> None:
    content = bytearray(files.files[files.path])
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(min(len(content), 2048))] = rng.randrange(256)
    files.files[files.path] = bytes(content)


@UNDECIDABLE.undecidable("a part of the file filled with one value", on_files=True, native=True)
def _fill(files: Rendered, rng: random.Random) -> None:
    content = bytearray(files.files[files.path])
    begin = rng.randrange(len(content))
    content[begin : begin + rng.choice([8, 64, 512])] = bytes([rng.choice([0, 255])]) * min(64, len(content) - begin)
    files.files[files.path] = bytes(content)


@UNDECIDABLE.undecidable("an attribute of another type", native=True)
def _attribute(volume: Hdf5Volume, rng: random.Random) -> None:
    strange: list[Any] = ["x", b"y", 3, 2.5, [1, 2], np.zeros((2, 2)), h5py.Empty("f8"), np.bool_(True), np.zeros(0),
                          [[1.0], [2.0], [3.0]], np.asarray([1 + 2j] * 3), ["a", "b", "c"]]  # fmt: skip
    name = rng.choice(["resolution", "offset", "element_size_um", "axistags", "units", "DIMENSION_LABELS"])
    volume.attributes |= {name: rng.choice(strange)}


def _size_name(volume: Hdf5Volume) -> str:
    return "resolution" if volume.style == "cremi" else "element_size_um"


def formats() -> list[Format]:
    """The row of HDF5."""
    return [Format("HDF5", _make, rendered, (SAME_MEANING, NO_MEANING, UNDECIDABLE, path_changes.ANY_PATH))]
