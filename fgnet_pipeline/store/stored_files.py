"""Which files lie below an output, and what they are: without opening any."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.store.arrays import OutputArray

#: What :func:`fgnet_pipeline.store.atomic_files.write_atomic` and Zarr's LocalStore call a file until it is whole.
_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial$")


def is_partial(path: Path) -> bool:
    """Whether ``path`` is the unfinished file of a writer that is at work, or was killed."""
    return _PARTIAL.search(path.name) is not None


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, in an order that does not depend on the file system; links are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root) / name


def shard_index(relative: tuple[str, ...], ndim: int) -> Vector | None:
    """The zyx index of the shard that an array of ``ndim`` axes holds at ``relative``; None for any other file."""
    if len(relative) != ndim + 1 or relative[0] != "c" or not all(part.isdecimal() for part in relative[1:]):
        return None
    z, y, x = (int(part) for part in relative[-3:])
    return z, y, x


def table_index(relative: tuple[str, ...]) -> Vector | None:
    """The block of the table at ``z/y/x.parquet``; None for any other file."""
    parts = (*relative[:-1], relative[-1].removesuffix(".parquet"))
    if len(parts) != 3 or not relative[-1].endswith(".parquet") or not all(part.isdecimal() for part in parts):
        return None
    z, y, x = (int(part) for part in parts)
    return z, y, x


def stored_shards(array: OutputArray, box: Box) -> npt.NDArray[np.bool_]:
    """For every shard of the index box ``box``: whether it has a file. One listing a row, no look at single files."""
    found = np.zeros(box.shape, bool)
    root = array.folder / "c"
    for _ in array.channels:
        root /= "0"
    for row in indices(Box(box.begin, (box.end[0], box.end[1], box.begin[2] + 1))):
        z, y, _ = row
        for name in _names(root / str(z) / str(y)):
            x = int(name) - box.begin[2] if name.isdecimal() else -1
            if 0 <= x < box.shape[2]:
                found[z - box.begin[0], y - box.begin[1], x] = True
    return found


def stored_blocks(array: OutputArray, grid: Grid, blocks: Box) -> npt.NDArray[np.bool_]:
    """For every block of the index box ``blocks``: whether any of its shards has a file."""
    each = vector(np.floor_divide(grid.block_shape, array.shards.block_shape))
    shards = Box(vector(np.multiply(blocks.begin, each)), vector(np.multiply(blocks.end, each)))
    found = stored_shards(array, shards)
    shape = [n for pair in zip(blocks.shape, each, strict=True) for n in pair]
    return np.asarray(found.reshape(shape).any(axis=(1, 3, 5)))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
