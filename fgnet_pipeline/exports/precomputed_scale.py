"""One scale of a precomputed volume: its entry in the file `info`, and its voxels, which TensorStore encodes.

TensorStore leaves out chunks of zeros when it writes shards, and a reader such as cloud-volume takes a chunk that is
left out for an error. So TensorStore encodes the chunks of a block in memory, and we write the shard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.exports.levels import Level
from fgnet_pipeline.exports.shards import Sharding
from fgnet_pipeline.store.atomic_files import write_atomic
from fgnet_pipeline.store.frame import Frame

Voxels = npt.NDArray[Any]
_DRIVER = "neuroglancer_precomputed"


@dataclass(frozen=True)
class Layout:
    """The storage of all scales of a volume.

    Attributes:
        chunk: voxels of a chunk, zyx.
        width: a shard has 2^width chunks along each axis.
        dtype: of the voxels.
        channels: number of channels; None if there is no channel axis.
        is_label: whether voxels are ids.
    """

    chunk: Vector
    width: int
    dtype: str
    channels: int | None
    is_label: bool

    @property
    def block(self) -> Vector:
        """Voxels of a shard, zyx."""
        return vector(np.multiply(self.chunk, 1 << self.width))

    def sharding(self, shape: Vector) -> Sharding:
        """The shards of a scale of `shape` voxels, zyx."""
        return Sharding(Grid(self.chunk).covering(Box((0, 0, 0), shape)).end, self.width)

    def info(self, scales: list[dict[str, Any]]) -> dict[str, Any]:
        """The file `info` of a volume with these scales."""
        return {
            "@type": "neuroglancer_multiscale_volume",
            "type": "segmentation" if self.is_label else "image",
            "data_type": self.dtype,
            "num_channels": self.channels or 1,
            "scales": scales,
        }

    def scale(self, key: str, shape: Vector, frame: Frame, voxel_offset: Vector) -> dict[str, Any]:
        """The entry of a scale in `info`. Precomputed volumes count x, y, z.

        Args:
            key: the folder of the scale.
            shape: voxels, zyx.
            frame: voxel size and offset.
            voxel_offset: position of voxel 0 in voxels of the scale, zyx.
        """
        encoding: dict[str, Any] = {"encoding": "raw"}
        if self.is_label:
            encoding = {"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8]}
        return {
            "key": key,
            "size": list(shape[::-1]),
            "resolution": list(frame.voxel_size[::-1]),
            "voxel_offset": list(voxel_offset[::-1]),
            "chunk_sizes": [list(self.chunk[::-1])],
            **encoding,
            "sharding": self.sharding(shape).to_json(),
        }


def key_of(frame: Frame) -> str:
    """The folder of a scale: its voxel size, x_y_z in nm."""
    return "_".join(f"{size:.12g}" for size in frame.voxel_size[::-1])


class Scale:
    """The voxels of one scale.

    Args:
        root: folder of the volume; its `info` is written.
        number: of the scale.
        level: the same scale as a level of the pyramid.
        key: its folder.
        layout: of the volume.
        threads: that may decode at once.
    """

    def __init__(self, root: Path, number: int, level: Level, key: str, layout: Layout, threads: int) -> None:
        self.root, self.number, self.layout, self.threads = root, number, layout, threads
        self.shape, self.folder = level.shape, root / key
        self.sharding = layout.sharding(level.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the voxels."""
        return np.dtype(self.layout.dtype)

    def read(self, box: Box) -> Voxels:
        """The voxels (z, y, x) or (C, z, y, x) of `box`; 0 in shards that are not there."""
        x, y, z = box.slices()[::-1]
        return self._ours(self._stored[x, y, z].read().result())

    def write(self, block: Box, written: Box, data: Voxels) -> list[Path]:
        """Write `data` at `written` and zeros elsewhere in `block`, one shard; returns its file."""
        target = block.intersect(Box((0, 0, 0), self.shape))
        if target != written:
            full = np.zeros((*data.shape[:-3], *target.shape), data.dtype)
            full[(..., *written.slices(target.begin))] = data
            data = full
        first = Grid(self.layout.chunk).index_of(target.begin)
        chunks = {vector(np.add(first, place)): chunk for place, chunk in self._encoded(data)}
        path = self.folder / self.sharding.file_name(first)
        write_atomic(path, self.sharding.encoded(chunks))
        return [path]

    def lost(self, grid: Grid, blocks: Box, nonzero: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which blocks have no file. Blocks of zeros have one, too.

        Args:
            grid: of the blocks, each one shard, in voxels of the scale.
            blocks: index box, zyx.
            nonzero: not used, since the answer is the same for blocks of zeros.
        """
        names = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
        chunks = Grid(self.layout.chunk)
        found = [self.sharding.file_name(chunks.index_of(grid.box(index).begin)) in names for index in indices(blocks)]
        return ~np.asarray(found, bool).reshape(blocks.shape)

    @cached_property
    def _stored(self) -> Any:
        """The scale in TensorStore, with voxel 0 at position 0; axes x, y, z, channel."""
        import tensorstore as ts

        store = {"driver": "file", "path": f"{self.root}/"}
        spec = {"driver": _DRIVER, "kvstore": store, "scale_index": self.number}
        return ts.open(spec, context=self._context, open=True).result().translate_to[0, 0, 0, 0]

    @cached_property
    def _context(self) -> Any:
        import tensorstore as ts

        limit = {"limit": self.threads}
        return ts.Context({"data_copy_concurrency": limit, "file_io_concurrency": limit})

    def _encoded(self, data: Voxels) -> Iterator[tuple[Vector, bytes]]:
        """(position in the block, zyx; encoded bytes) of every chunk of a block."""
        import tensorstore as ts

        shape = vector(data.shape[-3:])
        scale = self.layout.scale("0", shape, Frame((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), (0, 0, 0))
        del scale["sharding"]
        memory = ts.Context({"data_copy_concurrency": {"limit": self.threads}})
        files = ts.KvStore.open({"driver": "memory"}, context=memory).result()
        files.write("info", json.dumps(self.layout.info([scale]))).result()
        spec = {
            "driver": _DRIVER,
            "kvstore": {"driver": "memory"},
            "scale_index": 0,
            "store_data_equal_to_fill_value": True,
        }
        array = ts.open(spec, context=memory, open=True).result()
        array.write(self._theirs(data)).result()
        for name in files.list().result():
            if name == b"info":
                continue
            x, y, z = (int(part.split(b"-")[0]) for part in name.removeprefix(b"0/").split(b"_"))
            yield vector(np.floor_divide((z, y, x), self.layout.chunk)), files.read(name).result().value

    def _theirs(self, data: Voxels) -> Voxels:
        """(x, y, z, channel) of (z, y, x) or (C, z, y, x)."""
        return data.T if self.layout.channels is not None else data.T[..., None]

    def _ours(self, data: Voxels) -> Voxels:
        turned = np.ascontiguousarray(np.asarray(data).T)
        return turned if self.layout.channels is not None else turned[0]
