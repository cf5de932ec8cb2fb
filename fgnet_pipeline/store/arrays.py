"""Opening any array that Zarr can open, and creating the output arrays."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.codecs
import zarr.errors
from zarr.storage import LocalStore

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, whole
from fgnet_pipeline.core.signals import interrupts_later
from fgnet_pipeline.store.object_store import open_store
from fgnet_pipeline.store.whole_shard_store import Blank

#: What Zarr raises on a path that holds no array: nothing there, a group, bytes that are no metadata.
_OPEN_ERRORS = (OSError, ValueError, KeyError, TypeError, zarr.errors.BaseZarrError)
READ_ERRORS = (OSError, ValueError, RuntimeError, KeyError)


def use_threads(threads: int) -> None:
    """Let Zarr decode and encode with this many threads in this process, and decode what it can with zarrs.

    zarrs reads blocks from a local disk in half the time that Zarr's own codecs take. What it does not know (another
    codec, an object store, our way of writing) goes through Zarr's own without a word.
    """
    warnings.filterwarnings("ignore", "Array is unsupported by ZarrsCodecPipeline", UserWarning)
    zarr.config.set(
        {
            "codec_pipeline.path": "zarrs.ZarrsCodecPipeline",
            "threading.max_workers": threads,
            "async.concurrency": max(2, threads),
        }
    )


def open_array(path: str, field: str) -> zarr.Array[Any]:
    """The array at ``path`` (folder or URL; Zarr v2 or v3, sharded or not), read only.

    Raises:
        InputError: nothing there, a group, unreadable metadata, or an object store that refuses or does not answer;
            ``field`` is the configuration key to name.
    """
    store = open_store(path, field, read_only=True) if is_url(path) else path
    try:
        node = zarr.open(store, mode="r")
    except ImportError as error:
        raise InputError(field, path, "a location that the installed packages can open", str(error)) from error
    except _OPEN_ERRORS as error:
        raise InputError(
            field, path, "a Zarr array (v2 or v3)", f"check that it exists and can be read ({_short(error)})"
        ) from error
    if isinstance(node, zarr.Array):
        return node
    members = ", ".join(sorted(node.array_keys())) or "no arrays"
    raise InputError(field, path, "a Zarr array, not a group", f"name one of its arrays (it holds: {members})")


def _short(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    if isinstance(error, StoreError):
        return str(error)
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


class OutputArray:
    """One of our arrays: full shape of the volume, written a whole block at a time.

    Args:
        array: a Zarr v3 array of shape (z, y, x) or (C, z, y, x).
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.channels: tuple[int, ...] = tuple(array.shape[:-3])
        z, y, x = array.shape[-3:]
        self.bounds = whole((z, y, x))

    @cached_property
    def _written(self) -> zarr.Array[Any]:
        """The same array for writing: Zarr would read a shard before it replaces all of it."""
        return zarr.open_array(store=Blank(self.array.store), path=self.array.path, mode="r+")

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of ``box``, which must lie inside the volume."""
        return np.asarray(self.array[(..., *box.slices())])

    def write_block(self, block: Box, written: Box, data: npt.NDArray[Any]) -> None:
        """Write ``data`` at ``written`` and zeros elsewhere in ``block``, so that every shard is replaced whole."""
        target = block.intersect(self.bounds)
        if target != written:
            full = np.zeros(self.channels + target.shape, self.array.dtype)
            full[(..., *written.slices(target.begin))] = data
            data = full
        with interrupts_later():
            self._written[(..., *target.slices())] = data

    @property
    def folder(self) -> Path:
        """Where the array lies."""
        return Path(self.array.store.root) / self.array.path  # type: ignore[attr-defined]

    @property
    def shards(self) -> Grid:
        """The lattice of shards."""
        z, y, x = (self.array.shards or self.array.chunks)[-3:]
        return Grid((z, y, x))

    def shard_files(self, box: Box) -> list[Path]:
        """The files that hold the shards of ``box``, to be flushed; those of empty shards do not exist.

        Empty in an object store: what it has acknowledged is kept, and nothing is acknowledged before it is whole.
        """
        if not isinstance(self.array.store, LocalStore):
            return []
        lead = (0,) * len(self.channels)
        encode = self.array.metadata.encode_chunk_key
        return [self.folder / encode(lead + index) for index in indices(self.shards.covering(box))]


def create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: str,
    shard_shape: Vector,
    chunk_shape: Vector,
    attributes: dict[str, Any],
) -> OutputArray:
    """Create ``name`` in ``group`` with zstd and crc32c, replacing what was there."""
    lead = tuple(shape[:-3])
    array = group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        shards=lead + shard_shape,
        chunks=lead + chunk_shape,
        compressors=[zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()],
        fill_value=0,
        overwrite=True,
        attributes=attributes,
    )
    return OutputArray(array)


def default_chunk_shape(shard_shape: Vector) -> Vector:
    """The inner chunk of a shard: an axis' largest divisor up to 64, else its smallest divisor of 16 or more."""
    z, y, x = (_divisor(length) for length in shard_shape)
    return z, y, x


def _divisor(length: int) -> int:
    divisors = [d for d in range(1, length + 1) if length % d == 0]
    best = max(d for d in divisors if d <= 64)
    return best if best >= 16 else min(d for d in divisors if d >= min(16, length))


def storage_shapes(block: Vector, shard: Vector | None, chunk: Vector | None, stage: str) -> tuple[Vector, Vector]:
    """(shard, chunk) of an array written in blocks of ``block`` voxels.

    Raises:
        InputError: a shard that does not divide the block (two writers would share it) or a chunk that does not
            divide the shard.
    """
    shard_shape = shard or block
    if np.mod(block, shard_shape).any():
        raise InputError(
            "output.shard_shape",
            list(shard_shape),
            f"a divisor of the {stage} block {list(block)} along every axis (two writers in one shard lose data)",
            f"leave output.shard_shape out, or change schedule.{stage}.block_shape",
        )
    chunk_shape = chunk or default_chunk_shape(shard_shape)
    if np.mod(shard_shape, chunk_shape).any():
        raise InputError(
            "output.chunk_shape",
            list(chunk_shape),
            f"a divisor of the shard {list(shard_shape)} along every axis",
            "leave output.chunk_shape out, or choose a divisor",
        )
    return shard_shape, chunk_shape
