"""The row of N5, and its changes."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from lab_files.n5_volumes import CHECKED, COMPRESSIONS, N5Volume, render
from lab_files.specimen import Rendered, truth_of

from campaign import json_changes, path_changes
from campaign.json_changes import floated
from campaign.mutation import Changes, Format, lose, rename
from campaign.spellings import ALL, NO_LENGTH, NO_SIZE


def _make(rng: random.Random) -> N5Volume:
    style = rng.choice(["flat", "flat", "viewer", "cosem", "paintera"])
    truth = truth_of(rng, rng.choice(["uint8", "uint8", "uint16"]))
    if style == "viewer":
        truth = truth.at((0.0, 0.0, 0.0))  # it states no offset
    return N5Volume(truth, style)


def _blocks(files: Rendered) -> list[str]:
    return sorted(n for n in files.files if n.startswith(files.path + "/"))


def _own(files: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = files.documents[f"{files.path}/attributes.json"]
    return found


def _says_unit(volume: N5Volume) -> bool:
    return volume.style != "paintera" and volume.says_units


#: Other ways to store and to state the same.
SAME_MEANING = Changes()


@SAME_MEANING.preserving("another block size")
def _block(volume: N5Volume, rng: random.Random) -> None:
    volume.block = tuple(rng.randint(3, 16) for _ in range(3))


@SAME_MEANING.preserving("another compression")
def _compression(volume: N5Volume, rng: random.Random) -> None:
    volume.compression = rng.choice(list(COMPRESSIONS))


@SAME_MEANING.preserving("axes and voxels in another order", lambda v: v.style in ("flat", "cosem") and v.says_axes)
def _permuted(volume: N5Volume, rng: random.Random) -> None:
    rng.shuffle(volume.axes)


@SAME_MEANING.preserving("names of axes left out", lambda v: v.style == "flat" and v.axes == ["x", "y", "z"])
def _unnamed(volume: N5Volume, rng: random.Random) -> None:
    volume.says_axes = False


@SAME_MEANING.preserving("capital letters in names of axes", lambda v: v.style in ("flat", "cosem"))
def _capitals(volume: N5Volume, rng: random.Random) -> None:
    volume.shown |= {a: a.upper() for a in "zyx"}


@SAME_MEANING.preserving(
    "another spelling of the unit, the same length", lambda v: v.style != "paintera" and v.says_units
)
def _unit(volume: N5Volume, rng: random.Random) -> None:
    volume.unit = dict.fromkeys("zyx", rng.choice(sorted(ALL.items())))


@SAME_MEANING.preserving("another unit per axis", lambda v: v.style in ("flat", "cosem") and v.says_units)
def _units(volume: N5Volume, rng: random.Random) -> None:
    volume.unit = {axis: rng.choice(sorted(ALL.items())) for axis in "zyx"}


@SAME_MEANING.preserving(
    "units left out, numbers in nm",
    lambda v: v.style == "flat" and v.unit["x"] == v.unit["z"] == ("nm", 1.0) == v.unit["y"],
)
def _no_units(volume: N5Volume, rng: random.Random) -> None:
    volume.says_units = False


@SAME_MEANING.preserving("the dataset deeper in the container")
def _deeper(volume: N5Volume, rng: random.Random) -> None:
    volume.parts = rng.choice([(), ("a", "b"), ("volumes", "em", "cropped")])


@SAME_MEANING.preserving("the dataset named apart from the container", lambda f: "/" in f.path, on_files=True)
def _apart(files: Rendered, rng: random.Random) -> None:
    above, _, inside = files.path.rpartition("c.n5/")
    files.given["folder"], files.dataset = f"{above}c.n5", inside


@SAME_MEANING.preserving("blocks of 0 that are not stored")
def _sparse(volume: N5Volume, rng: random.Random) -> None:
    voxels = volume.truth.voxels.copy()
    voxels[:4, :6, :8] = 0
    volume.truth, volume.sparse = dataclasses.replace(volume.truth, voxels=voxels), True
    volume.block = tuple({"z": 4, "y": 6, "x": 8}[a] for a in volume.axes)


@SAME_MEANING.preserving("a coarser level, by its factors", lambda v: v.style == "viewer")
def _coarser(volume: N5Volume, rng: random.Random) -> None:
    volume.name, volume.factors = "s1", rng.choice([(2, 2, 1), (2, 2, 2), (4, 4, 1)])


@SAME_MEANING.preserving("the path with n5:// before it", on_files=True)
def _prefix(files: Rendered, rng: random.Random) -> None:
    files.given["before"] = "n5://"


@SAME_MEANING.preserving("factors of 1", lambda v: v.style not in ("paintera", "viewer"))
def _factors(volume: N5Volume, rng: random.Random) -> None:
    volume.broken.setdefault("downsamplingFactors", [1, 1, 1])


@SAME_MEANING.preserving("whole numbers with a decimal point", on_files=True)
def _floats(files: Rendered, rng: random.Random) -> None:
    for document in files.documents.values():
        floated(document, ("resolution", "offset", "scale", "translate", "pixelResolution"))


@SAME_MEANING.preserving("files of other programs in the folder", on_files=True)
def _bystanders(files: Rendered, rng: random.Random) -> None:
    files.files[f"{files.path}/{rng.choice(['.DS_Store', 'README.txt'])}"] = b"no block"


#: Lost blocks, and attributes that describe no volume.
NO_MEANING = Changes()


@NO_MEANING.destroying("all blocks missing", on_files=True)
def _missing(files: Rendered, rng: random.Random) -> None:
    lose(files, _blocks(files))


@NO_MEANING.destroying("all blocks under other names", on_files=True)
def _renamed(files: Rendered, rng: random.Random) -> None:
    rename(files, _blocks(files), rng.choice([".bak", ".gz", ".n5"]))


@NO_MEANING.destroying("changed bytes in a block with a checksum", lambda v: v.compression in CHECKED)
def _corrupt(volume: N5Volume, rng: random.Random) -> None:
    volume.extra_root["corrupt"] = rng.random()


@NO_MEANING.destroying("a cut block")
def _cut(volume: N5Volume, rng: random.Random) -> None:
    volume.extra_root["cut"] = rng.random()


@NO_MEANING.destroying("a type, length or compression that nobody knows", on_files=True)
def _type(files: Rendered, rng: random.Random) -> None:
    key, value = rng.choice([
        ("dataType", "grey"), ("dataType", 8), ("dataType", None), ("dimensions", [-14, 10, 6]),
        ("dimensions", "14,10,6"), ("dimensions", [14, 10]), ("blockSize", [0, 6, 4]), ("blockSize", [8, 6]),
        ("compression", {"type": "secret"}), ("compression", 4), ("dimensions", []),
    ])  # fmt: skip
    _own(files)[key] = value


@NO_MEANING.destroying("a member that N5 needs left out", on_files=True)
def _member(files: Rendered, rng: random.Random) -> None:
    del _own(files)[rng.choice(["dimensions", "blockSize", "dataType"])]


@NO_MEANING.destroying("an axis named twice", lambda v: v.style in ("flat", "cosem") and v.says_axes)
def _twice(volume: N5Volume, rng: random.Random) -> None:
    volume.shown |= {"z": volume.shown.get("x", "x")}


@NO_MEANING.destroying("names that are no axes of space", lambda v: v.style in ("flat", "cosem") and v.says_axes)
def _names(volume: N5Volume, rng: random.Random) -> None:
    volume.shown |= rng.choice([{"z": "t"}, {"z": "a", "y": "b", "x": "d"}, {"x": "channel"}])


@NO_MEANING.destroying("too few or too many axes named", lambda v: v.style == "flat")
def _count(volume: N5Volume, rng: random.Random) -> None:
    volume.broken["axes"] = rng.choice([["x", "y"], ["x", "y", "z", "c"], "xy", []])


@NO_MEANING.destroying("a unit that is no length", lambda v: v.style in ("flat", "viewer", "cosem") and v.says_units)
def _unit(volume: N5Volume, rng: random.Random) -> None:
    wrong = (rng.choice(NO_LENGTH), 1.0)
    volume.unit = dict.fromkeys("zyx", wrong) if rng.random() < 0.5 else volume.unit | {"x": wrong}


@NO_MEANING.destroying("a voxel size that is no size", on_files=True)
def _size(files: Rendered, rng: random.Random) -> None:
    sizes = _sizes(files)
    sizes[rng.randrange(3)] = rng.choice(NO_SIZE)


@NO_MEANING.destroying("a voxel size of the wrong length", on_files=True)
def _length(files: Rendered, rng: random.Random) -> None:
    sizes = _sizes(files)
    if rng.random() < 0.5:
        del sizes[-1]
    else:
        sizes.append(4)


@NO_MEANING.destroying("colours", on_files=True)
def _colours(files: Rendered, rng: random.Random) -> None:
    own = _own(files)
    own["dimensions"], own["blockSize"] = [*own["dimensions"], 3], [*own["blockSize"], 1]


@NO_MEANING.undecidable("bytes of a block flipped", on_files=True)
def _flip(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_blocks(files))
    content = bytearray(files.files[name])
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    files.files[name] = bytes(content)


def _sizes(files: Rendered) -> list[Any]:
    """The list that states the voxel size, wherever it stands."""
    for document in files.documents.values():
        for path in (("resolution",), ("pixelResolution", "dimensions"), ("transform", "scale")):
            found: Any = document
            for part in path:
                found = found.get(part) if isinstance(found, dict) else None
            if isinstance(found, list):
                return found
    raise AssertionError("no style is without a voxel size")


def rendered(volume: N5Volume) -> Rendered:
    """The files; those of which one block is to be damaged are changed here, when the blocks are known."""
    marks = {key: volume.extra_root.pop(key) for key in ("corrupt", "cut") if key in volume.extra_root}
    files = render(volume)
    for mark, place in marks.items():
        names = _blocks(files)
        name = names[int(place * len(names))]
        content = bytearray(files.files[name])
        content[(len(content) + 16) // 2] ^= 0x55
        files.files[name] = bytes(content if mark == "corrupt" else content[: len(content) // 2])
    return files


def _main(files: Rendered) -> list[str]:
    return [n for n in files.documents if n.startswith(files.path) or n.endswith("data/attributes.json")]


def formats() -> list[Format]:
    """The row of N5."""
    json = json_changes.document_changes(lambda files: list(files.documents.values()), _main)
    changes = (*json, SAME_MEANING, NO_MEANING, path_changes.ANY_PATH, path_changes.FOLDER_PATH)
    return [Format("N5", _make, rendered, changes)]
