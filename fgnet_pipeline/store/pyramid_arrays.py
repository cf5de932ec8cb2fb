"""Groups and arrays of an exported pyramid: a Zarr v3 hierarchy that is no output of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Grid, Vector
from fgnet_pipeline.store.arrays import OutputArray, create_array
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.stored_files import stored_blocks
from fgnet_pipeline.store.stored_shards import Contents, StoredShards


def write_group(root: Path, path: str, attributes: Mapping[str, Any]) -> None:
    """Make a group and set its attributes. A group that has them already is left as it is.

    Args:
        root: folder of the hierarchy.
        path: of the group below it; empty for the root.
        attributes: of the group.
    """
    group = zarr.open_group(root / path if path else root, mode="a", zarr_format=3)
    if dict(group.attrs) != dict(attributes):
        group.attrs.put(dict(attributes))


def make_level(
    root: Path, path: str, *, shape: tuple[int, ...], dtype: str, shard: Vector, chunk: Vector, frame: Frame,
    attributes: Mapping[str, Any],
) -> None:  # fmt: skip
    """Create an array if there is none.

    Args:
        root: folder of the hierarchy.
        path: of the array below it, `GROUP/NAME` or `NAME`; the group exists.
        shape: (z, y, x) or (C, z, y, x).
        dtype: e.g. `"uint64"`.
        shard: shape of a shard, zyx.
        chunk: shape of a chunk, zyx.
        frame: voxel size and offset of the array.
        attributes: beside those that state the frame.
    """
    if (root / path / "zarr.json").exists():
        return
    parent, _, name = path.rpartition("/")
    group = zarr.open_group(root / parent if parent else root, mode="r+")
    stated = {**frame.attributes(channels=len(shape) == 4), **attributes}
    create_array(group, name, shape=shape, dtype=dtype, shard_shape=shard, chunk_shape=chunk, attributes=stated)


class LevelStore:
    """An array of a pyramid, written in whole blocks.

    Args:
        root: folder of the hierarchy.
        path: of the array below it.
        threads: how many may decode and encode at once.

    Raises:
        DamageError: it is missing, or its metadata cannot be read.
    """

    def __init__(self, root: Path, path: str, threads: int = 1) -> None:
        try:
            self.array = OutputArray(zarr.open_array(root, path=path, mode="r+"))
        except (OSError, ValueError, KeyError) as error:
            raise DamageError(f"array {root}/{path} is missing or unreadable ({error})") from error
        self._shards = StoredShards(self.array, threads)

    def lost(self, grid: Grid, blocks: Box, nonzero: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which blocks should have a file, but have none. Blocks of zeros have none.

        Args:
            grid: of the blocks, in voxels of the array.
            blocks: index box, zyx.
            nonzero: of its shape, whether a block has a voxel that is not 0.
        """
        return nonzero & ~stored_blocks(self.array, grid, blocks)

    @property
    def dtype(self) -> Any:
        """Of the voxels."""
        return self.array.array.dtype

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels (z, y, x) or (C, z, y, x) of `box`.

        Raises:
            OSError: a file cannot be read.
            ValueError: it is damaged.
        """
        return self._shards.read(box)

    def write(self, block: Box, written: Box, data: npt.NDArray[Any]) -> list[Path]:
        """Write `data` at `written` and zeros elsewhere in `block`; returns the files to flush to disk."""
        return self._shards.write_block(block, written, data)

    def takes_shards_of(self, source: StoredShards) -> bool:
        """Whether the files of another array can be copied to this level."""
        return self._shards.is_like(source)

    def write_shards(self, block: Box, contents: Contents) -> list[Path]:
        """Write a block, whose shards are encoded; returns the files to flush to disk."""
        return self._shards.replace(block, contents)
