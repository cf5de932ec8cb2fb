"""Which chunks of an N5 or precomputed volume are stored.

TensorStore, like every reader of these formats, gives 0 for a chunk that it does not find. A volume whose chunk files
lie under other names would be black.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.stored_share import positions

#: How many chunks of a volume that is not on a local disk are looked up, spread over it.
PROBES = 64
#: Metadata that lie among chunk files.
_METADATA = {"attributes.json", "info", "provenance", ".zarray", ".zattrs", ".zgroup", "zarr.json"}


@dataclass(frozen=True)
class ChunkGrid:
    """The chunks that a volume has.

    Attributes:
        counts: chunks per stored axis.
        key: gives the name of the file of a chunk, below the folder of the chunks, from its position in the grid.
        nested: the name has one folder per axis.
    """

    counts: tuple[int, ...]
    key: Callable[[tuple[int, ...]], Any]
    nested: bool

    @property
    def total(self) -> int:
        """The number of chunks."""
        return prod(self.counts)

    def probes(self) -> list[tuple[int, ...]]:
        """Positions of up to `PROBES` chunks, spread over the grid; of all, if there are no more."""
        return positions(self.counts, PROBES)


@dataclass(frozen=True)
class Census:
    """What was found.

    Attributes:
        stored: chunks that are stored.
        looked_at: chunks that were looked up: all, or the probes.
        others: up to three names of other files among them.
        renamed: up to three names that are the name of a chunk with an ending that the format does not know.
        suffixes: the endings, such as `.gz`, that follow the names of stored chunks.
    """

    stored: int
    looked_at: int
    others: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def share(self, field: str, path: str) -> float:
        """The share of the chunks that are stored, above 0.

        Raises:
            InputError: none is stored, or some lie under other names.
        """
        if self.stored and not self.renamed:
            return min(1.0, self.stored / self.looked_at)
        lying = self.renamed or self.others
        seen = f"{self.stored} of {self.looked_at} chunks that were looked up are stored"
        seen += f", but {', '.join(lying)} lie there" if lying else ""
        remedy = "check that all files were copied, and their names"
        raise InputError(field, path, f"chunks under the names that the format gives them ({seen})", remedy)


def local_census(folder: Path, grid: ChunkGrid, suffixes: Sequence[str] = ("",)) -> Census:
    """Look at all files of a folder.

    Args:
        folder: of the chunks.
        grid: the chunks that there may be.
        suffixes: what may follow the name of a chunk.
    """
    names = _names(folder, grid.nested)
    listed = {grid.key(index) for index in np.ndindex(*grid.counts)} if grid.total <= 4 * len(names) + 1000 else None

    def is_chunk(name: str) -> bool:
        return name in listed if listed is not None else _fits(name, grid)

    chunks: set[str] = set()
    used: set[str] = set()
    others, renamed = [], []
    for name in names:
        at = name.find(".", name.rfind("/") + 1)
        bare, suffix = (name, "") if at < 0 else (name[:at], name[at:])
        if is_chunk(bare) and suffix in suffixes:
            chunks.add(bare)
            used.add(suffix)
        elif is_chunk(bare):
            renamed.append(name)
        elif name.rsplit("/", 1)[-1] not in _METADATA:
            others.append(name)
    first = (tuple(sorted(others)[:3]), tuple(sorted(renamed)[:3]), tuple(sorted(used - {""})))
    return Census(len(chunks), grid.total, *first)


def _names(folder: Path, nested: bool) -> list[str]:
    """Names of all files, below the folder if they are nested, with `/`."""
    if not folder.is_dir():
        return []
    if not nested:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    found = []
    for root, _, files in os.walk(folder):
        inside = os.path.relpath(root, folder).replace(os.sep, "/")
        found += [name if inside == "." else f"{inside}/{name}" for name in files]
    return found


def _fits(name: str, grid: ChunkGrid) -> bool:
    """Whether a name is that of a chunk, for grids that are too large to list. Only N5 and precomputed names count."""
    if grid.nested:
        parts = name.split("/")
        inside = len(parts) == len(grid.counts) and all(part.isdecimal() for part in parts)
        return inside and all(int(part) < count for part, count in zip(parts, grid.counts, strict=True))
    return re.fullmatch(r"-?\d+--?\d+_-?\d+--?\d+_-?\d+--?\d+", name) is not None


def probe_census(read: Callable[[str], Any], grid: ChunkGrid) -> Census:
    """Look up some chunks, spread evenly.

    Args:
        read: begins to read a file of chunks by its name; the result's `result().state` is `"value"` if it is stored.
        grid: the chunks that there may be.
    """
    pending = [read(grid.key(index)) for index in grid.probes()]
    return Census(sum(_is_stored(one) for one in pending), len(pending))


def _is_stored(pending: Any) -> bool:
    try:
        return bool(pending.result().state == "value")
    except ValueError as error:
        if "PERMISSION_DENIED" in str(error):  # buckets that forbid listing say so of objects that do not exist
            return False
        raise


def precomputed_grid(scale: dict[str, Any]) -> ChunkGrid:
    """The chunks of a scale of a precomputed volume that has no shards.

    Names are `x0-x1_y0-y1_z0-z1` in voxels with the offset added, cut off at the end of the volume
    (github.com/google/neuroglancer, src/datasource/precomputed/volume.md).
    """
    size, chunk = scale["size"], scale["chunk_sizes"][0]
    offset = scale.get("voxel_offset", [0, 0, 0])

    def key(index: tuple[int, ...]) -> str:
        spans = []
        for i, c, n, o in zip(index, chunk, size, offset, strict=True):
            spans.append(f"{o + i * c}-{o + min((i + 1) * c, n)}")
        return "_".join(spans)

    return ChunkGrid(tuple(-(-n // c) for n, c in zip(size, chunk, strict=True)), key, nested=False)


def sharded_grid(grid: ChunkGrid) -> ChunkGrid:
    """The same chunks with the keys that they have in shards.

    A key is the compressed Morton code of the position, as 8 bytes, big-endian (github.com/google/neuroglancer,
    src/datasource/precomputed/volume.md, "Unsharded and sharded chunk storage"): the bits of x, y, z in turn, from the
    lowest on, without the bits that no position of that axis needs.
    """

    def key(index: tuple[int, ...]) -> bytes:
        code = place = 0
        for bit in range(max(n - 1 for n in grid.counts).bit_length()):
            for i, n in zip(index, grid.counts, strict=True):
                if (n - 1) >> bit:
                    code |= (i >> bit & 1) << place
                    place += 1
        return code.to_bytes(8, "big")

    return ChunkGrid(grid.counts, key, grid.nested)


def precomputed_names(scale: dict[str, Any], spans: Sequence[tuple[int, int]]) -> list[str]:
    """Names of the chunks of a scale that a box touches.

    Args:
        scale: of the `info` of a volume without shards.
        spans: begin and end of the box in voxels from the volume's first one, for x, y and z.
    """
    grid, chunk = precomputed_grid(scale), scale["chunk_sizes"][0]
    ranges = [
        range(begin // c, min(n, -(-end // c))) for (begin, end), c, n in zip(spans, chunk, grid.counts, strict=True)
    ]
    return [grid.key(index) for index in itertools.product(*ranges)]


def n5_grid(attributes: dict[str, Any]) -> ChunkGrid:
    """The blocks of an N5 dataset, `i/j/k` (github.com/saalfeldlab/n5, README, "File-system specification")."""
    counts = tuple(-(-n // b) for n, b in zip(attributes["dimensions"], attributes["blockSize"], strict=True))
    return ChunkGrid(counts, lambda index: "/".join(str(i) for i in index), nested=True)
