"""The shards of an array on a disk as files: boxes of voxels read from them, whole shards written or copied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from fgnet_pipeline.core.geometry import Box, Vector, indices, vector
from fgnet_pipeline.core.signals import interrupts_later
from fgnet_pipeline.store.arrays import OutputArray
from fgnet_pipeline.store.atomic_files import write_atomic

if TYPE_CHECKING:
    from fgnet_pipeline.store.shard_codec import ShardCodec

#: Members of the metadata of an array that say how voxels are stored.
LAYOUT = ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
#: The files of shards by index, zyx. A shard of zeros is not among them.
Contents = dict[Vector, bytes]


class StoredShards:
    """The shards of one of our arrays.

    Args:
        array: on a disk.
        threads: how many may decode and encode at once.
    """

    def __init__(self, array: OutputArray, threads: int = 1) -> None:
        self.array, self.threads = array, threads
        self._lead = (0,) * len(array.channels)

    @cached_property
    def layout(self) -> dict[str, Any]:
        """The metadata that say how voxels are stored."""
        stated = self.array.array.metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()
        document = json.loads(stated)
        return {name: document[name] for name in LAYOUT}

    def is_like(self, other: StoredShards) -> bool:
        """Whether a file of a shard means the same voxels in both arrays. Both lie on a disk."""
        on_disk = all(isinstance(each.array.array.store, LocalStore) for each in (self, other))
        return on_disk and self.layout == other.layout

    @cached_property
    def _codec(self) -> ShardCodec:
        from fgnet_pipeline.store.shard_codec import ShardCodec  # here, because a driver decodes no shard

        shape = self.array.channels + self.array.shards.block_shape
        return ShardCodec(self.layout, shape, self.threads)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of `box` inside the array, with all channels.

        Raises:
            OSError: a file cannot be read.
            ValueError: it is damaged.
        """
        return self.read_with_contents(box)[0]

    def read_with_contents(self, box: Box) -> tuple[npt.NDArray[Any], Contents]:
        """The voxels of `box` inside the array, and the files that were decoded.

        Raises:
            OSError: a file cannot be read.
            ValueError: it is damaged.
        """
        data, contents = np.empty(self.array.channels + box.shape, self.array.array.dtype), Contents()
        grid = self.array.shards
        for index in indices(grid.covering(box)):
            path, shard = self._path(index), grid.box(index)
            part = shard.intersect(box)
            voxels = data[(..., *part.slices(box.begin))]
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # a shard of zeros
                voxels[...] = 0
                continue
            try:
                self._codec.decode(content, self._lead + vector(np.subtract(part.begin, shard.begin)), voxels)
            except ValueError as error:
                raise ValueError(f"shard {path} is damaged ({error})") from error
            contents[index] = content
        return data, contents

    def write_block(self, block: Box, written: Box, data: npt.NDArray[Any]) -> list[Path]:
        """Write `data` at `written` and zeros elsewhere in `block`, so that every shard is replaced as a whole.

        Args:
            block: box of whole shards in voxels; cut off at the end of the volume.
            written: box inside `block`.
            data: (z, y, x) or (C, z, y, x), of the shape of `written`.

        Returns:
            The files to flush to disk. Those of shards of zeros do not exist.
        """
        target, contents = block.intersect(self.array.bounds), Contents()
        if target != written:
            full = np.zeros(self.array.channels + target.shape, self.array.array.dtype)
            full[(..., *written.slices(target.begin))] = data
            data = full
        for index in indices(self.array.shards.covering(target)):
            part = self.array.shards.box(index).intersect(target)
            content = self._codec.encode(data[(..., *part.slices(target.begin))])
            if content is not None:
                contents[index] = content
        return self.replace(block, contents)

    def replace(self, block: Box, contents: Mapping[Vector, bytes]) -> list[Path]:
        """Write the files of the shards of `block`. Shards without a content become zeros.

        Args:
            block: box of whole shards in voxels; cut off at the end of the volume.
            contents: from an array that is stored alike.

        Returns:
            The files to flush to disk. Those of shards of zeros do not exist.
        """
        paths = []
        with interrupts_later():
            for index in indices(self.array.shards.covering(block.intersect(self.array.bounds))):
                path = self._path(index)
                paths.append(path)
                if index in contents:
                    write_atomic(path, contents[index])
                else:
                    path.unlink(missing_ok=True)
        return paths

    def _path(self, shard: Vector) -> Path:
        return self.array.folder / self.array.array.metadata.encode_chunk_key(self._lead + shard)
