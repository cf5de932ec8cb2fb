"""Which files an output holds, and what each of them is; no file is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.store.arrays import OutputArray

#: The name that `fgnet_pipeline.store.atomic_files.write_atomic` and Zarr's LocalStore give an unfinished file.
_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial$")


def is_partial(path: Path) -> bool:
    """Whether `path` is an unfinished file, of a writer that is at work or was killed."""
    return _PARTIAL.search(path.name) is not None


def remove_unfinished_below(folder: Path) -> None:
    """Remove the unfinished files below `folder`, which killed writers left."""
    for path in files_below(folder):
        if is_partial(path):
            path.unlink(missing_ok=True)


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, sorted by folder and name; links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root) / name


def shard_index(relative: tuple[str, ...], ndim: int) -> Vector | None:
    """Which shard of an array a file is.

    Args:
        relative: the parts of the path of the file below the array's folder.
        ndim: number of axes of the array.

    Returns:
        The index of the shard, zyx; None if the file is no shard.
    """
    if len(relative) != ndim + 1 or relative[0] != "c" or not all(part.isdecimal() for part in relative[1:]):
        return None
    z, y, x = (int(part) for part in relative[-3:])
    return z, y, x


def table_index(relative: tuple[str, ...]) -> Vector | None:
    """Which block the table `z/y/x.parquet` belongs to.

    Args:
        relative: the parts of the path of the file below the folder of the tables.

    Returns:
        The index of the block, zyx; None if the file is no table.
    """
    parts = (*relative[:-1], relative[-1].removesuffix(".parquet"))
    if len(parts) != 3 or not relative[-1].endswith(".parquet") or not all(part.isdecimal() for part in parts):
        return None
    z, y, x = (int(part) for part in parts)
    return z, y, x


def stored_shards(array: OutputArray, box: Box) -> npt.NDArray[np.bool_]:
    """Which shards have a file, found by one listing per row of shards.

    Args:
        array: on a disk.
        box: index box of shards, zyx.

    Returns:
        bool (z, y, x) of the shape of `box`.
    """
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
    """Which blocks have a file of at least one of their shards.

    Args:
        array: on a disk; its shards divide the blocks.
        grid: of the blocks.
        blocks: index box of blocks, zyx.

    Returns:
        bool (z, y, x) of the shape of `blocks`.
    """
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
