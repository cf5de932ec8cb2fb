"""Arrays as a reader of Zarr v3 asks for them: one document, and chunks by their names.

Nothing is copied: chunks are given as they are stored. If the reader cannot decode them, chunks are made from the
array when they are asked for. Nothing but chunks of the array can be asked for: a name that is not the name of a chunk
in the grid of the array is unknown, whatever else lies in its folder.
"""

from __future__ import annotations

import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from fgnet_pipeline.core.errors import StoreError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, vector, whole
from fgnet_pipeline.store.arrays import READ_ERRORS
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.stored_share import chunk_grid
from fgnet_pipeline.store.volume import Volume
from fgnet_pipeline.store.zarr_document import Document, computed_document, stored_document, stored_names

#: Voxels per axis, at most, of a chunk that is made when it is asked for.
COMPUTED_CHUNK = 64
#: The name of the document of an array.
DOCUMENT = "zarr.json"
Read = Callable[[Box], npt.NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """A part of a chunk.

    Attributes:
        data: the bytes; fewer than asked for at the end of the chunk.
        total: bytes of the whole chunk; None if it was not found out.
    """

    data: bytes
    total: int | None


class ServedArray(ABC):
    """An array and how a reader of Zarr v3 gets it.

    Args:
        document: content of its `zarr.json`, without names of axes.
        axes: the name of every axis that the document describes; `c` holds channels.
        frame: voxel size and offset; None leaves the units out.
        grid: number of chunks (shards, if the array has shards) along each axis.

    Attributes:
        axes: as given.
        document: the bytes of its `zarr.json`, with names and units of the axes.
        scheme: how Neuroglancer reads the array with its own metadata; None if it cannot.
        stored_names: of the axes in these metadata, as Neuroglancer makes them unique.
    """

    scheme: str | None = None
    stored_names: tuple[str, ...] = ()

    def __init__(self, document: Document, axes: tuple[str, ...], frame: Frame | None, grid: Sequence[int]) -> None:
        self.axes, self._grid = axes, tuple(grid)
        encoding = document["chunk_key_encoding"]
        self._prefix = "c" if encoding["name"] == "default" else ""
        self._separator = encoding.get("configuration", {}).get("separator", "/" if self._prefix else ".")
        sizes = dict(zip("zyx", frame.voxel_size, strict=True)) if frame is not None else {}
        units = [f"{sizes[axis]:.12g} nm" if axis in sizes else None for axis in axes]
        names = {"dimension_names": list(axes), "attributes": {"dimension_units": units}}
        self.document = json.dumps({**document, **names}).encode()

    def index_of(self, name: str) -> tuple[int, ...] | None:
        """The position in the grid of the chunk of that name; None if no chunk has that name."""
        start = self._prefix + self._separator if self._prefix else ""
        parts = name.removeprefix(start).split(self._separator)
        if not name.startswith(start) or len(parts) != len(self._grid):
            return None
        if not all(part.isascii() and part.isdecimal() and str(int(part[:20])) == part for part in parts):
            return None
        index = tuple(int(part) for part in parts)
        return index if all(i < n for i, n in zip(index, self._grid, strict=True)) else None

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a chunk of a name that `index_of` knows; None if it is not stored.

        Raises:
            StoreError: it cannot be read.
        """

    @abstractmethod
    def read(self, name: str, begin: int = 0, end: int | None = None) -> Part | None:
        """Bytes of a chunk of a name that `index_of` knows; None if it is not stored.

        Args:
            name: of the chunk.
            begin: the first byte.
            end: the byte after the last; None is the end of the chunk.

        Raises:
            StoreError: it cannot be read or decoded.
        """


class StoredArray(ServedArray):
    """An array whose chunks are given as they are stored.

    Args:
        array: opened for reading.
        document: describes it.
        axes: names of its axes.
        frame: voxel size and offset.
    """

    def __init__(self, array: zarr.Array[Any], document: Document, axes: tuple[str, ...], frame: Frame | None) -> None:
        super().__init__(document, axes, frame, chunk_grid(array))
        self._place = array.async_array.store_path


class LocalArray(StoredArray):
    """An array on a disk."""

    @property
    def _folder(self) -> Path:
        return Path(self._place.store.root) / self._place.path  # type: ignore[attr-defined]

    def size(self, name: str) -> int | None:
        part = self.read(name, 0, 0)
        return None if part is None else part.total

    def read(self, name: str, begin: int = 0, end: int | None = None) -> Part | None:
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its other end.
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self._folder / name} cannot be read ({error.strerror})") from error
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None
            last = found.st_size if end is None else min(end, found.st_size)
            try:
                file.seek(begin)
                return Part(file.read(max(0, last - begin)), found.st_size)
            except OSError as error:
                raise StoreError(f"{self._folder / name} cannot be read ({error.strerror})") from error


class RemoteArray(StoredArray):
    """An array in an object store or on a web server."""

    def size(self, name: str) -> int | None:
        place = self._place / name
        # This request tells an absent object from one that must not be read, which a request for the size does not.
        if sync(place.get(default_buffer_prototype(), RangeByteRequest(0, 1))) is None:
            return None
        try:
            return sync(place.store.getsize(place.path))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever the library of the store raises
            raise StoreError(f"the size of {name} cannot be read ({error})") from error

    def read(self, name: str, begin: int = 0, end: int | None = None) -> Part | None:
        wanted = None if begin == 0 and end is None else RangeByteRequest(begin, end if end is not None else 1 << 62)
        found = sync((self._place / name).get(default_buffer_prototype(), wanted))
        return None if found is None else Part(found.to_bytes(), None)


class ComputedArray(ServedArray):
    """An array whose chunks are made when they are asked for, without compression.

    Args:
        read: gives the voxels of a box, (z, y, x) or (C, z, y, x).
        shape: (z, y, x) or (C, z, y, x).
        chunk: shape of a chunk of the stored array, voxels, zyx.
        dtype: of what `read` gives.
        frame: voxel size and offset.
        is_ids: whether the values are ids.
    """

    def __init__(
        self, read: Read, shape: tuple[int, ...], chunk: Vector, dtype: np.dtype[Any], frame: Frame | None, is_ids: bool
    ) -> None:
        self._read, self._lead, self._shape = read, shape[:-3], vector(shape[-3:])
        self._dtype = _shown_type(dtype, is_ids)
        self._chunks = Grid(vector(np.minimum(np.minimum(chunk, COMPUTED_CHUNK), self._shape)))
        axes = ("c", "z", "y", "x")[-len(shape) :]
        document = computed_document(shape, self._lead + self._chunks.block_shape, self._dtype)
        blocks = self._chunks.covering(whole(self._shape)).end
        super().__init__(document, axes, frame, (*(1 for _ in self._lead), *blocks))

    def size(self, name: str) -> int | None:
        return int(np.prod(self._lead + self._chunks.block_shape)) * self._dtype.itemsize

    def read(self, name: str, begin: int = 0, end: int | None = None) -> Part | None:
        index = self.index_of(name)
        assert index is not None  # by the contract of this method
        box = self._chunks.box(vector(index[-3:]))
        inside = box.intersect(whole(self._shape))
        try:
            values = self._read(inside)
        except READ_ERRORS as error:
            raise StoreError(f"voxels {inside.to_list()} cannot be read ({error})") from error
        full = np.zeros(self._lead + box.shape, self._dtype.newbyteorder("<"))
        full[(..., *inside.slices(box.begin))] = values
        data = full.tobytes()
        return Part(data[begin:end], len(data))


def _shown_type(dtype: np.dtype[Any], is_ids: bool) -> np.dtype[Any]:
    """The type in which values are given, of those that Neuroglancer shows."""
    if is_ids:
        return np.dtype(np.uint64)
    return dtype if dtype.name in ("uint8", "int8", "uint16", "int16", "uint32", "int32") else np.dtype(np.float32)


def serve_volume(volume: Volume, frame: Frame | None, is_ids: bool) -> ServedArray:
    """A volume as it is stored, or computed if its chunks cannot be decoded by the reader.

    Args:
        volume: opened for reading.
        frame: its voxel size and offset.
        is_ids: whether its values are ids.
    """
    spatial = dict(zip(volume.order, ("z", "y", "x"), strict=True))
    axes = tuple(spatial.get(i, f"d{i}") for i in range(volume.array.ndim))
    stored = serve_stored(volume.array, axes, frame, is_ids)
    if stored is not None:
        return stored
    chunk = vector([volume.array.chunks[axis] for axis in volume.order])
    return ComputedArray(volume.read, volume.shape, chunk, volume.dtype, frame, is_ids)


def serve_stored(
    array: zarr.Array[Any], axes: tuple[str, ...], frame: Frame | None, is_ids: bool
) -> ServedArray | None:
    """An array as it is stored; None if its chunks cannot be decoded by the reader.

    Args:
        array: opened for reading.
        axes: names of its axes.
        frame: its voxel size and offset.
        is_ids: whether its values are ids.
    """
    document = stored_document(array, is_ids)
    if document is None:
        return None
    kind = LocalArray if isinstance(array.store, LocalStore) else RemoteArray
    served = kind(array, document, axes, frame)
    zarr_format = array.metadata.zarr_format
    if zarr_format == 2 or document["data_type"] == np.dtype(array.dtype).name:
        served.scheme, served.stored_names = f"zarr{zarr_format}", stored_names(array)
    return served
