"""A small volume whose meaning is known, and the files that state it.

A *specimen* is a description of files: every format has its own, with a `truth` and with the choices that a writer of
that format has. `render` makes the files of it in memory; `Rendered.write` puts them on a disk.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[float, float, float]
#: Voxels, zyx, of every specimen: all lengths differ, so that no two axes can be exchanged unseen.
SHAPE = (6, 10, 14)
#: Voxel sizes and offsets in nm, zyx: whole, fractional, and 10/3, which no decimal fraction equals.
FRAMES: tuple[tuple[Size, Size], ...] = (
    ((40.0, 8.0, 4.0), (80.0, 24.0, 12.0)),
    ((30.0, 9.6, 4.5), (-60.0, 48.0, 9.0)),
    ((35.0, 5.0, 10 / 3), (0.0, 0.0, 0.0)),
)


@dataclass(frozen=True)
class Truth:
    """What is right to read.

    Attributes:
        voxels: (z, y, x).
        voxel_size: nm, zyx; None if the files state none.
        offset: nm, zyx, of the corner of voxel 0.
    """

    voxels: NDArray[Any]
    voxel_size: Size | None
    offset: Size

    def at(self, offset: Size) -> Truth:
        """The same volume at another place (corner of voxel 0 in nm, zyx)."""
        return replace(self, offset=offset)


def truth_of(rng: random.Random, dtype: str = "uint8", frame: int | None = None) -> Truth:
    """A volume of random values.

    Args:
        rng: chooses the values, and one of `FRAMES`.
        dtype: of the values, which use its whole range.
        frame: which of `FRAMES`; None lets `rng` choose.
    """
    size, offset = FRAMES[rng.randrange(len(FRAMES)) if frame is None else frame]
    values = np.random.default_rng(rng.getrandbits(32))
    limits = np.iinfo(dtype)
    return Truth(values.integers(limits.min, limits.max, SHAPE, dtype, endpoint=True), size, offset)


@dataclass
class Rendered:
    """Files in memory.

    Attributes:
        documents: path -> content of the JSON files, below the folder of the specimen.
        files: path -> bytes of all other files.
        path: what the user names, below the same folder.
        reader: `zarr` for `open_volume`; else a format of `open_source`.
        dataset: inside a container; None if the user names none.
        options: of `fgnet_pipeline.datasets.convert.plan`.
        given: how the user names the input: `before` and `after` the path, `folder` instead of it, `scale`.
        stated: what the user states in the configuration: `axes`, `voxel_size`, `offset`.
        linked: the user names the files through a symbolic link: to "folder" (that holds them all) or to "path" itself.
        layout: how the JSON files are written: keywords of `json.dumps`.
    """

    documents: dict[str, Any]
    files: dict[str, bytes]
    path: str
    reader: str
    dataset: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    stated: dict[str, Any] = field(default_factory=dict)
    linked: str = ""
    layout: dict[str, Any] = field(default_factory=dict)

    def settle(self) -> None:
        """Turn the documents into bytes; only files are left."""
        for name, document in self.documents.items():
            self.files[name] = json.dumps(document, **self.layout).encode()
        self.documents = {}

    def write(self, folder: Path) -> Path:
        """Write all files below `folder`; gives the path that the user names."""
        self.settle()
        root = folder / "stored"
        for name, content in self.files.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        named = self.given.get("folder", self.path)
        if self.linked:
            (folder / "link").symlink_to(root if self.linked == "folder" else root / named)
            return folder / "link" / named if self.linked == "folder" else folder / "link"
        return root / named


def plain(value: float) -> int | float:
    """An int if the value is whole, as most writers of JSON do."""
    return int(value) if float(value).is_integer() else float(value)


def shortest(value: float) -> int | float:
    """A number without the last digits, which a change of unit makes: 12 digits are left."""
    return plain(float(f"{value:.12g}"))


def chunks_of(data: NDArray[Any], chunks: tuple[int, ...]) -> Any:
    """(index, part) of every chunk of an array; parts at its end are cut off."""
    counts = [range(-(-n // c)) for n, c in zip(data.shape, chunks, strict=True)]
    for index in itertools.product(*counts):
        yield index, data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]


def padded(part: NDArray[Any], chunks: tuple[int, ...], fill: int) -> NDArray[Any]:
    """A part filled up to the full shape of a chunk."""
    full = np.full(chunks, fill, part.dtype)
    full[tuple(slice(n) for n in part.shape)] = part
    return full
