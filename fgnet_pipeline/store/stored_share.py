"""How much of an array is stored at all, from fixed positions: chunks that nobody stored read as the fill value."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

#: Positions that are looked at, in a folder and in an object store. An array with fewer chunks is counted exactly.
LOCAL_POSITIONS, REMOTE_POSITIONS = 1000, 100
#: Requests to an object store at once.
AT_ONCE = 16


@dataclass(frozen=True)
class StoredShare:
    """How many chunks (shards, if the array has shards) of an array are stored.

    Attributes:
        kind: `chunks` or `shards`.
        total: number of them in the grid of the array.
        looked_at: number of them that were looked for.
        found: number of these that are stored.
    """

    kind: str
    total: int
    looked_at: int
    found: int

    @property
    def share(self) -> float:
        """In [0, 1]; an estimate, if not all were looked at."""
        return self.found / self.looked_at

    def __str__(self) -> str:
        """For people."""
        if self.looked_at == self.total:
            return f"{self.found} of {self.total} {self.kind} stored"
        return f"about {100 * self.share:.3g} % of {self.total} {self.kind} stored ({self.looked_at} looked at)"


def chunk_grid(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Number of chunks (shards, if the array has shards) along each stored axis."""
    sizes = array.shards or array.chunks
    return tuple(-(-n // size) for n, size in zip(array.shape, sizes, strict=True))


def positions(grid: tuple[int, ...], count: int = REMOTE_POSITIONS) -> list[tuple[int, ...]]:
    """Grid positions spread over an array, the same ones in every process; all of them, if there are not more.

    One position is drawn from each of `count` equal parts, so that no pattern of stored chunks has their distance.

    Args:
        grid: number of chunks along each axis.
        count: how many positions at most.
    """
    total = prod(grid)
    if total <= count:
        return list(np.ndindex(*grid))
    drawn = np.random.default_rng(0).random(count)
    chosen = [int((part + float(at)) * total / count) for part, at in enumerate(drawn)]
    return [tuple(int(i) for i in np.unravel_index(min(index, total - 1), grid)) for index in chosen]


def stored_share(array: zarr.Array[Any]) -> StoredShare:
    """How much of an array is stored, from fixed positions; nothing is listed.

    Raises:
        StoreError: an object store refuses or does not answer.
    """
    grid = chunk_grid(array)
    is_local = isinstance(array.store, LocalStore)
    chosen = positions(grid, LOCAL_POSITIONS if is_local else REMOTE_POSITIONS)
    keys = [array.metadata.encode_chunk_key(index) for index in chosen]
    found = sum(_local(array, keys) if is_local else _remote(array, keys))
    return StoredShare("shards" if array.shards else "chunks", prod(grid), len(chosen), found)


def is_stored(array: zarr.Array[Any], *keys: str) -> bool:
    """Whether any of some chunks is stored.

    Args:
        array: opened for reading.
        keys: names of chunks below the array.

    Raises:
        StoreError: an object store refuses or does not answer.
    """
    if isinstance(array.store, LocalStore):
        return any(_local(array, keys))
    # The first one alone: mostly it is stored, and one request is enough.
    parts = [keys[:1], *(keys[i : i + AT_ONCE] for i in range(1, len(keys), AT_ONCE))]
    return any(any(_remote(array, part)) for part in parts)


def _local(array: zarr.Array[Any], keys: Iterable[str]) -> list[bool]:
    folder = Path(array.store.root) / array.path  # type: ignore[attr-defined]
    return [os.path.isfile(folder / key) for key in keys]


def _remote(array: zarr.Array[Any], keys: Iterable[str]) -> list[bool]:
    """Whether each object exists; one byte of it is read."""
    prototype, path = default_buffer_prototype(), array.async_array.store_path

    def ask(key: str) -> bool:
        return sync((path / key).get(prototype, RangeByteRequest(0, 1))) is not None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, keys))
