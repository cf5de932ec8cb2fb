"""Encodes and decodes whole shards of one array, in memory, by TensorStore."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts


class ShardCodec:
    """Shards of an array of Zarr v3.

    TensorStore sees an array of one shard, which lies in memory. It compares the checksums of the index and of every
    inner chunk that it decodes. Equal voxels get equal bytes from one version of TensorStore, which may differ from
    those that Zarr writes, since both bring their own zstd.

    Args:
        layout: the members of `zarr.json` that say how voxels are stored (`fgnet_pipeline.store.stored_shards.LAYOUT`).
        shape: of a shard, with all channels.
        threads: how many may decode and encode at once.

    Raises:
        ValueError: TensorStore does not know the type or a codec of the array.
    """

    def __init__(self, layout: Mapping[str, Any], shape: tuple[int, ...], threads: int) -> None:
        context = ts.Context({"data_copy_concurrency": {"limit": threads}, "cache_pool": {"total_bytes_limit": 0}})
        place = {"driver": "memory"}
        grid = {"name": "regular", "configuration": {"chunk_shape": list(shape)}}
        metadata = {"zarr_format": 3, "node_type": "array", **layout, "shape": list(shape), "chunk_grid": grid}
        spec = {"driver": "zarr3", "kvstore": place, "metadata": metadata}
        self.shape, self._key, self._lock = shape, "/".join("c" + "0" * len(shape)), threading.Lock()
        self._array = ts.open(spec, context=context, create=True).result()
        self._files, self._all = ts.KvStore.open(place, context=context).result(), ts.KvStore.KeyRange("c", "d")

    def decode(self, content: bytes, begin: tuple[int, ...], target: npt.NDArray[Any]) -> None:
        """Decode a part of a shard.

        Args:
            content: the file of the shard.
            begin: where the part begins in the shard, with the channel.
            target: gets the voxels of the part, which has its shape.

        Raises:
            ValueError: the index or a chunk of the part is damaged.
        """
        part = tuple(slice(first, first + length) for first, length in zip(begin, target.shape, strict=True))
        with self._lock:
            self._files.write(self._key, content).result()
            ts.array(target).write(self._array[part].translate_to[(0,) * len(begin)]).result()

    def encode(self, voxels: npt.NDArray[Any]) -> bytes | None:
        """The file of a shard; None for a shard of zeros, which has no file.

        Args:
            voxels: from the begin of the shard on. Those of a shard at the end of the array fill a part of it.
        """
        with self._lock:
            self._files.delete_range(self._all).result()
            self._array[tuple(slice(0, length) for length in voxels.shape)].write(np.asarray(voxels)).result()
            stored = self._files.read(self._key).result()
        return bytes(stored.value) if stored.state == "value" else None
