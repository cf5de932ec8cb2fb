"""The row of Neuroglancer precomputed, and its changes."""

from __future__ import annotations

import dataclasses
import gzip
import random
from typing import Any

from lab_files.precomputed_volumes import PrecomputedVolume, render
from lab_files.specimen import Rendered, Size, truth_of

from campaign import json_changes, path_changes
from campaign.json_changes import floated
from campaign.mutation import Changes, Format, lose, rename
from campaign.spellings import NO_SIZE


def _make(rng: random.Random) -> PrecomputedVolume:
    truth = truth_of(rng, rng.choice(["uint8", "uint8", "uint16"]))
    assert truth.voxel_size is not None
    shift = rng.choice([(0, 0, 0), (3, 5, 2), (-2, 4, 7)])
    z, y, x = (n * v for n, v in zip(shift, truth.voxel_size, strict=True))
    offset: Size = (z, y, x)
    return PrecomputedVolume(truth.at(offset))


def _chunks(files: Rendered) -> list[str]:
    return sorted(n for n in files.files if n.startswith(files.path + "/") and not n.endswith((".txt", ".DS_Store")))


def _scale(files: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = files.documents[f"{files.path}/info"]["scales"][files.given.get("scale", 0)]
    return found


def _is_zipped(files: Rendered) -> bool:
    return any(name.endswith(".gz") for name in files.files)


#: Other ways to store and to state the same.
SAME_MEANING = Changes()


@SAME_MEANING.preserving("another chunk size")
def _chunk(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.chunk = (rng.randint(3, 20), rng.randint(3, 16), rng.randint(2, 9))


@SAME_MEANING.preserving("chunk files as gzip, named *.gz", lambda v: not v.sharded)
def _zipped(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.zipped = True


@SAME_MEANING.preserving("shards", lambda v: not v.zipped)
def _shards(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.sharded, volume.shard_bits = True, rng.choice([0, 1, 2])


@SAME_MEANING.preserving("another name of the scale")
def _key(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.key = rng.choice(["s0", "4x8x40", "mip0/em", "40.0_8.0_4.0"])


@SAME_MEANING.preserving("an offset of 0 left out")
def _unsaid(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.says_offset = False


@SAME_MEANING.preserving("coarser scales")
def _scales(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.more_scales = rng.randint(1, 3)


@SAME_MEANING.preserving("chunks of 0 that are not stored", lambda v: not v.sharded)
def _sparse(volume: PrecomputedVolume, rng: random.Random) -> None:
    voxels = volume.truth.voxels.copy()
    voxels[:4, :6, :8] = 0
    volume.truth, volume.sparse = dataclasses.replace(volume.truth, voxels=voxels), True
    volume.chunk = (8, 6, 4)


@SAME_MEANING.preserving("the second scale of the volume", on_files=True)
def _second(files: Rendered, rng: random.Random) -> None:
    scales = next(iter(files.documents.values()))["scales"]
    scales.insert(0, {**scales[0], "key": "finer", "resolution": [n / 2 for n in scales[0]["resolution"]]})
    files.given["scale"] = 1


@SAME_MEANING.preserving("the type of the document left out")
def _type(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.broken_info.setdefault("@type", None)


@SAME_MEANING.preserving("a folder of meshes named")
def _mesh(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.broken_info |= {"mesh": "mesh", "skeletons": "skeletons"}


@SAME_MEANING.preserving("whole numbers of the resolution with a decimal point", on_files=True)
def _floats(files: Rendered, rng: random.Random) -> None:
    floated(files.documents, ("resolution",))


@SAME_MEANING.preserving("the path with precomputed:// before it", on_files=True)
def _prefix(files: Rendered, rng: random.Random) -> None:
    files.given["before"] = "precomputed://"


@SAME_MEANING.preserving("files of other programs in the folder", on_files=True)
def _bystanders(files: Rendered, rng: random.Random) -> None:
    files.files[f"{files.path}/{rng.choice(['.DS_Store', 'README.txt', 'provenance'])}"] = b"{}"


#: Lost chunks, and an `info` that describes no volume.
NO_MEANING = Changes()


@NO_MEANING.destroying("all chunk files missing", on_files=True)
def _missing(files: Rendered, rng: random.Random) -> None:
    lose(files, _chunks(files))


@NO_MEANING.destroying("all chunk files under other names", on_files=True)
def _renamed(files: Rendered, rng: random.Random) -> None:
    rename(files, _chunks(files), rng.choice([".bak", ".raw", ".zst"]))


@NO_MEANING.destroying("all chunks at another offset than stated", lambda v: not v.sharded)
def _shifted(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.broken["voxel_offset"] = [1001, 1003, 1007]


@NO_MEANING.destroying("a cut chunk", on_files=True)
def _cut(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_chunks(files))
    files.files[name] = files.files[name][: len(files.files[name]) // 2]


@NO_MEANING.destroying("a chunk file that is no gzip", _is_zipped, on_files=True)
def _no_gzip(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_chunks(files))
    files.files[name] = gzip.decompress(files.files[name])


@NO_MEANING.destroying(
    "changed bytes in a gzip chunk", lambda f: any(n.endswith(".gz") for n in f.files), on_files=True
)
def _corrupt(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_chunks(files))
    content = bytearray(files.files[name])
    content[len(content) // 2] ^= 0x55
    files.files[name] = bytes(content)


@NO_MEANING.destroying("a resolution that is no size", on_files=True)
def _size(files: Rendered, rng: random.Random) -> None:
    _scale(files)["resolution"][rng.randrange(3)] = rng.choice(NO_SIZE)


@NO_MEANING.destroying("a resolution, size or offset of the wrong length", on_files=True)
def _length(files: Rendered, rng: random.Random) -> None:
    chosen = _scale(files)[rng.choice(["resolution", "size"])]
    if rng.random() < 0.5:
        del chosen[-1]
    else:
        chosen.append(4)


@NO_MEANING.destroying("a member that is not known", on_files=True)
def _unknown(files: Rendered, rng: random.Random) -> None:
    info, scale = files.documents[f"{files.path}/info"], _scale(files)
    holder, key, value = rng.choice([
        (info, "data_type", "grey"), (info, "data_type", 8), (info, "type", "film"), (info, "@type", "other_thing"),
        (scale, "encoding", "secret"), (scale, "encoding", None), (scale, "size", [-14, 10, 6]),
        (scale, "size", "14x10x6"), (scale, "chunk_sizes", []), (scale, "chunk_sizes", [[0, 6, 4]]),
        (scale, "sharding", {"@type": "other"}), (info, "scales", []), (info, "scales", {}), (info, "num_channels", 0),
    ])  # fmt: skip
    holder[key] = value


@NO_MEANING.destroying("a member that is needed left out", on_files=True)
def _member(files: Rendered, rng: random.Random) -> None:
    info, scale = files.documents[f"{files.path}/info"], _scale(files)
    holder, key = rng.choice([
        (info, "data_type"), (info, "num_channels"), (info, "scales"), (scale, "size"), (scale, "resolution"),
        (scale, "encoding"), (scale, "chunk_sizes"), (scale, "key"),
    ])  # fmt: skip
    del holder[key]


@NO_MEANING.destroying("colours")
def _colours(volume: PrecomputedVolume, rng: random.Random) -> None:
    volume.channels = rng.choice([2, 3])


@NO_MEANING.undecidable("bytes of a chunk flipped", on_files=True)
def _flip(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_chunks(files))
    content = bytearray(files.files[name])
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    files.files[name] = bytes(content)


def formats() -> list[Format]:
    """The row of Neuroglancer precomputed."""
    json = json_changes.document_changes(
        lambda files: [files.documents[f"{files.path}/info"]], lambda f: sorted(f.documents)
    )
    changes = (*json, SAME_MEANING, NO_MEANING, path_changes.ANY_PATH, path_changes.FOLDER_PATH)
    return [Format("Neuroglancer precomputed", _make, render, changes)]
