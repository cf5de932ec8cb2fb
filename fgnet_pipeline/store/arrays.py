"""Opens any array that Zarr can open, and creates the output arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
from fgnet_pipeline.store.chunk_names import with_stored_names
from fgnet_pipeline.store.decoding import check_metadata, with_safe_codecs
from fgnet_pipeline.store.foreign_formats import foreign_format, remedy
from fgnet_pipeline.store.object_store import open_store
from fgnet_pipeline.store.whole_shard_store import Blank

#: Names of the axes of our arrays, which Zarr keeps with each array.
AXES = ("c", "z", "y", "x")
#: What Zarr raises on a path that holds no array: nothing, a group, or bytes that are no metadata.
_OPEN_ERRORS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RuntimeError,
    zarr.errors.BaseZarrError,
)  # fmt: skip
#: What Zarr raises when chunks cannot be read or decoded.
READ_ERRORS = (OSError, ValueError, RuntimeError, KeyError)


def use_threads(threads: int) -> None:
    """Set how Zarr decodes and encodes in this process.

    The package zarrs reads blocks from a local disk in half the time that Zarr's own codecs take. What zarrs does not
    support (some codecs, object stores, `whole_shard_store.Blank`) goes through Zarr's own codecs, silently.

    Args:
        threads: how many may decode and encode at once.
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
    """Open an array for reading, with the names under which its chunks are stored (see `chunk_names`).

    Args:
        path: folder or URL; Zarr v2 or v3, with or without shards.
        field: the configuration key or option to name in errors.

    Raises:
        InputError: there is no array, but nothing, a group, another format or unreadable metadata; chunks whose names
            Zarr cannot read; or an object store refuses or does not answer.
    """
    store = open_store(path, field, read_only=True) if is_url(path) else path
    try:
        node = zarr.open(store, mode="r")
        if isinstance(node, zarr.Array):
            check_metadata(node, path, field)
            return with_safe_codecs(with_stored_names(node, path, field))
        members = ", ".join(sorted(node.array_keys())) or "no arrays"
    except ImportError as error:
        raise InputError(field, path, "a location that the installed packages can open", str(error)) from error
    except _OPEN_ERRORS as error:
        raise _no_array(path, field, error, getattr(store, "denied", None)) from error
    if members == "no arrays" and (kind := foreign_format(path)):
        raise _foreign(path, field, kind)
    raise InputError(field, path, "a Zarr array, not a group", f"name one of its arrays (it holds: {members})")


@contextmanager
def readable(path: str, field: str) -> Iterator[None]:
    """Turn what is raised when chunks cannot be read into one sentence.

    Raises:
        InputError: chunks cannot be read or decoded.
    """
    try:
        yield
    except READ_ERRORS as error:
        found = f"{path}, of which chunks cannot be read ({_short(error)})"
        raise InputError(field, found, "readable voxels", "check the files and codecs of the array") from error


def _no_array(path: str, field: str, error: BaseException, denied: str | None) -> InputError:
    """The error for a path at which no array can be opened."""
    if not isinstance(error, StoreError) and (kind := foreign_format(path)):
        return _foreign(path, field, kind)
    if denied is not None and not isinstance(error, StoreError):
        return InputError(field, path, "a Zarr array (v2 or v3)", denied)
    reason = _short(error)
    if not is_url(path) and os.path.islink(path):
        reason = f"it is a link to {os.readlink(path)}, which cannot be opened: {reason}"
    return InputError(field, path, "a Zarr array (v2 or v3)", f"check that it exists and can be read ({reason})")


def _foreign(path: str, field: str, kind: str) -> InputError:
    return InputError(field, f"{path} ({kind})", "a Zarr array (v2 or v3)", remedy(kind))


def _short(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    if isinstance(error, StoreError):
        return str(error)
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


class OutputArray:
    """One of our arrays. It has the full shape of the volume and is written in whole blocks.

    Args:
        array: a Zarr v3 array of shape (z, y, x) or (C, z, y, x).

    Attributes:
        array: the same.
        channels: `(C,)`, or `()` if there is no channel axis.
        bounds: box of the whole array in voxels, zyx.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.channels: tuple[int, ...] = tuple(array.shape[:-3])
        z, y, x = array.shape[-3:]
        self.bounds = whole((z, y, x))

    @cached_property
    def _written(self) -> zarr.Array[Any]:
        """The same array for writing; its shards seem to be missing, or Zarr would read each before it replaces it."""
        return zarr.open_array(store=Blank(self.array.store), path=self.array.path, mode="r+")

    @cached_property
    def _checked(self) -> zarr.Array[Any]:
        """The same array for reading, with codecs that compare the checksum of every chunk that they touch."""
        return with_safe_codecs(self.array)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of `box`, which must lie inside the volume, with all channels.

        Raises:
            READ_ERRORS: a chunk cannot be read, or its bytes are not those that were written.
        """
        return np.asarray(self._checked[(..., *box.slices())])

    def write_block(self, block: Box, written: Box, data: npt.NDArray[Any]) -> None:
        """Write `data` at `written` and zeros elsewhere in `block`, so that every shard is replaced as a whole.

        Args:
            block: box of the block in voxels; cut off at the end of the volume.
            written: box inside `block`.
            data: (z, y, x) or (C, z, y, x), of the shape of `written`.
        """
        target = block.intersect(self.bounds)
        if target != written:
            full = np.zeros(self.channels + target.shape, self.array.dtype)
            full[(..., *written.slices(target.begin))] = data
            data = full
        with interrupts_later():
            self._written[(..., *target.slices())] = data

    @property
    def folder(self) -> Path:
        """The folder of the array; only if it is on a disk."""
        return Path(self.array.store.root) / self.array.path  # type: ignore[attr-defined]

    @property
    def shards(self) -> Grid:
        """The lattice of shards; of chunks, if the array has no shards."""
        z, y, x = (self.array.shards or self.array.chunks)[-3:]
        return Grid((z, y, x))

    def shard_files(self, box: Box) -> list[Path]:
        """The files of the shards that touch `box`, to be flushed to disk. The file of an empty shard does not exist.

        The list is empty for an object store, which acknowledges a write only when it has stored the whole object.
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
    shard_shape: Vector | None,
    chunk_shape: Vector,
    attributes: dict[str, Any],
) -> OutputArray:
    """Create an array with the codecs zstd and crc32c and the fill value 0. An array of the same name is replaced.

    Args:
        group: in which it is created.
        name: of the array.
        shape: (z, y, x) or (C, z, y, x) in voxels.
        dtype: e.g. `"uint64"`.
        shard_shape: voxels, zyx; a shard holds all channels. None stores each chunk in a file of its own.
        chunk_shape: voxels, zyx, a divisor of `shard_shape`; a chunk holds all channels.
        attributes: of the array.
    """
    lead = tuple(shape[:-3])
    array = group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        shards=None if shard_shape is None else lead + shard_shape,
        chunks=lead + chunk_shape,
        compressors=[zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()],
        fill_value=0,
        overwrite=True,
        dimension_names=AXES[-len(shape) :],
        attributes=attributes,
    )
    return OutputArray(array)


def default_chunk_shape(shard_shape: Vector) -> Vector:
    """The default shape of the chunks in a shard, in voxels, zyx.

    Along each axis it is the largest divisor of the shard's length up to 64, if that is at least 16; otherwise the
    smallest divisor of 16 or more.
    """
    z, y, x = (_divisor(length) for length in shard_shape)
    return z, y, x


def _divisor(length: int) -> int:
    divisors = [d for d in range(1, length + 1) if length % d == 0]
    best = max(d for d in divisors if d <= 64)
    return best if best >= 16 else min(d for d in divisors if d >= min(16, length))


def storage_shapes(block: Vector, shard: Vector | None, chunk: Vector | None, stage: str) -> tuple[Vector, Vector]:
    """Choose and check the shapes of shards and chunks.

    Args:
        block: shape of the blocks in which the array is written, in voxels, zyx.
        shard: `output.shard_shape`; None is the block.
        chunk: `output.chunk_shape`; None chooses one.
        stage: that writes the array, to name it in errors.

    Returns:
        (shard, chunk) in voxels, zyx.

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
