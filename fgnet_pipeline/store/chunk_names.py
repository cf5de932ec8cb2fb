"""Under which names the chunks of an array are stored, and whether these are the names that its metadata state.

Zarr reads a chunk that it does not find as the fill value. So an array whose chunk files have other names than its
metadata state reads as black, without an error. Old writers of Zarr v2 wrote nested names (`0/0/0`) without
`dimension_separator`; Zarr v3 has four ways to name a chunk (`c/0/0/0`, `c.0.0.0`, `0/0/0`, `0.0.0`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import zarr
from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding, V2ChunkKeyEncoding
from zarr.core.metadata import ArrayV2Metadata
from zarr.storage import LocalStore

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.stored_share import chunk_grid, is_stored, positions

#: Entries of a folder that are looked at before it counts as one without chunks of a kind.
ENTRIES = 100_000
#: Entries of a folder that are looked at for chunks of a second kind; and chunks whose place in the grid is checked.
FEW = 1000
#: Files of an array that are no chunks.
METADATA = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json", "attributes.json"}


@dataclass(frozen=True)
class Naming:
    """One way to name chunks.

    Attributes:
        prefix: `c`, or nothing.
        separator: `/` or `.`.
    """

    prefix: str
    separator: str

    def key(self, index: tuple[int, ...]) -> str:
        """The name of a chunk."""
        return self.separator.join([*([self.prefix] if self.prefix else []), *map(str, index)])


NAMINGS = (Naming("c", "/"), Naming("c", "."), Naming("", "/"), Naming("", "."))


def with_stored_names(array: zarr.Array[Any], path: str, field: str) -> zarr.Array[Any]:
    """The array, with the names under which its chunks are stored.

    Metadata that state other names than those of the files are corrected in memory, if all chunks have names of one
    kind that lie in the grid of the array.

    Args:
        array: opened for reading.
        path: its folder or URL.
        field: the configuration key or option to name in errors.

    Raises:
        InputError: chunks with names of two kinds, or with names that Zarr cannot read.
    """
    if array.ndim < 2 or (stated := _stated(array)) is None:
        return array
    found = _local_kinds(array, stated) if isinstance(array.store, LocalStore) else _remote_kinds(array, stated)
    if found in ([], [stated]):
        return array
    if len(found) > 1:
        names = " and ".join(repr(naming.key((0,) * array.ndim)) for naming in found)
        expected = "chunks with names of one kind"
        raise InputError(field, f"{path} with chunks named like {names}", expected, "copy the array to a new one")
    return _renamed(array, found[0], path, field)


def _stated(array: zarr.Array[Any]) -> Naming | None:
    """The names that the metadata state; None for an encoding of another package."""
    metadata = array.metadata
    if isinstance(metadata, ArrayV2Metadata):
        return Naming("", metadata.dimension_separator)
    encoding = metadata.chunk_key_encoding
    if isinstance(encoding, DefaultChunkKeyEncoding):
        return Naming("c", encoding.separator)
    return Naming("", encoding.separator) if isinstance(encoding, V2ChunkKeyEncoding) else None


def _local_kinds(array: zarr.Array[Any], stated: Naming) -> list[Naming]:
    """The kinds of names under which chunks lie in the folder of an array on a disk."""
    folder = folder_of(array)
    found = [stated] if any(True for _ in _indices(folder, stated, array.ndim, ENTRIES)) else []
    limit = FEW if found else ENTRIES
    others = [naming for naming in NAMINGS if naming != stated]
    return found + [n for n in others if any(True for _ in _indices(folder, n, array.ndim, limit))]


def folder_of(array: zarr.Array[Any]) -> Path:
    """The folder of an array on a disk."""
    return Path(array.store.root) / array.path  # type: ignore[attr-defined]


def _indices(folder: Path, naming: Naming, ndim: int, limit: int) -> Iterator[tuple[int, ...]]:
    """The grid positions of the chunks that lie in a folder under names of one kind; `limit` entries are looked at."""
    if naming.separator == ".":
        pattern = re.compile(r"c(\.\d+)+" if naming.prefix else r"\d+(\.\d+)+")
        for name in islice(_entries(folder), limit):
            if pattern.fullmatch(name) and name.count(".") == ndim - (not naming.prefix):
                yield tuple(map(int, name.removeprefix("c.").split(".")))
        return
    yield from _nested(folder / naming.prefix if naming.prefix else folder, ndim, limit)


def _nested(folder: Path, depth: int, limit: int) -> Iterator[tuple[int, ...]]:
    for name in islice(_entries(folder), limit):
        if not name.isdecimal():
            continue
        if depth > 1:
            for rest in _nested(folder / name, depth - 1, limit):
                yield int(name), *rest
        elif (folder / name).is_file():
            yield (int(name),)


def _entries(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                yield entry.name
    except OSError:
        return


def _remote_kinds(array: zarr.Array[Any], stated: Naming) -> list[Naming]:
    """The kinds of names at a few positions of an array in an object store. Usually the first request decides."""
    grid = chunk_grid(array)
    middle = sorted(
        positions(grid), key=lambda index: sum(abs(2 * i + 1 - n) for i, n in zip(index, grid, strict=True))
    )
    if is_stored(array, *(stated.key(index) for index in middle)):
        return [stated]
    return [n for n in NAMINGS if n != stated and is_stored(array, *(n.key(index) for index in middle[:8]))]


def _renamed(array: zarr.Array[Any], naming: Naming, path: str, field: str) -> zarr.Array[Any]:
    """The array with other names of chunks.

    Raises:
        InputError: Zarr has no such names in the format of this array, or chunks lie outside the grid.
    """
    example, grid = naming.key((0,) * array.ndim), chunk_grid(array)
    expected = f"chunks named like {_key(array)!r}, as its metadata state"
    remedy = "correct the metadata (dimension_separator, chunk_key_encoding), or rename the files"
    outside: Iterator[tuple[int, ...]] = iter(())
    if isinstance(array.store, LocalStore):
        stored = islice(_indices(folder_of(array), naming, array.ndim, ENTRIES), FEW)
        outside = (index for index in stored if any(i >= n for i, n in zip(index, grid, strict=True)))
    is_v2 = isinstance(array.metadata, ArrayV2Metadata)
    if (is_v2 and naming.prefix) or any(True for _ in outside):
        raise InputError(field, f"{path} with chunks named like {example!r}", expected, remedy)
    if is_v2:
        changed: dict[str, Any] = {"dimension_separator": naming.separator}
    else:
        kind: Any = DefaultChunkKeyEncoding if naming.prefix else V2ChunkKeyEncoding
        changed = {"chunk_key_encoding": kind(separator=naming.separator)}
    old = array.async_array
    return zarr.Array(zarr.AsyncArray(replace(old.metadata, **changed), old.store_path, old.config))


def _key(array: zarr.Array[Any]) -> str:
    return array.metadata.encode_chunk_key((0,) * array.ndim)


def stored_positions(array: zarr.Array[Any], most: int) -> list[tuple[int, ...]]:
    """Grid positions of some chunks (shards, if the array has shards) that are stored.

    Args:
        array: opened by `arrays.open_array`.
        most: number of positions at most.

    Raises:
        StoreError: an object store refuses or does not answer.
    """
    if isinstance(array.store, LocalStore):
        stated = _stated(array)
        return [] if stated is None else list(islice(_indices(folder_of(array), stated, array.ndim, ENTRIES), most))
    key = array.metadata.encode_chunk_key
    return [index for index in positions(chunk_grid(array)) if is_stored(array, key(index))][:most]


def require_stored(array: zarr.Array[Any], path: str, field: str, kind: str = "an array") -> None:
    """Refuse an array of which nothing is stored: it reads as its fill value everywhere.

    Args:
        array: opened by `arrays.open_array`.
        path: its folder or URL.
        field: the configuration key or option to name in errors.
        kind: what the array holds, for the error.

    Raises:
        InputError: none of its chunks can be found.
    """
    if isinstance(array.store, LocalStore):
        stated = _stated(array)
        folder = folder_of(array)
        if stated is None or any(True for _ in _indices(folder, stated, array.ndim, ENTRIES)):
            return
        others = [name for name in islice(_entries(folder), FEW) if name not in METADATA]
        seen = f"; its folder holds e.g. {min(others)!r}" if others else ""
    else:
        chosen = positions(chunk_grid(array))
        if is_stored(array, *(array.metadata.encode_chunk_key(index) for index in chosen)):
            return
        seen = f"; {len(chosen)} of its chunks were looked for"
    raise InputError(
        field,
        f"{path}, of which no chunk is stored (its metadata name them like {_key(array)!r}{seen})",
        f"{kind} whose chunks are stored; without chunks every voxel reads as the fill value",
        "check that it was copied as a whole, and the names of its chunk files",
    )
