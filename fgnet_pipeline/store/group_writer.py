"""Writes an imported volume: a Zarr v3 group that is there as a whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector, whole
from fgnet_pipeline.core.signals import interrupts_later
from fgnet_pipeline.store.arrays import create_array
from fgnet_pipeline.store.atomic_files import flush_to_disk
from fgnet_pipeline.store.volume import Frame

#: Voxels of a shard and of a chunk in it: boxes where any can be read, few sections where they come whole.
BOXES = ((64, 256, 256), (64, 64, 64))
SECTIONS = ((16, 512, 512), (16, 128, 128))


class ImportWriter:
    """A group under a temporary name beside ``path``; leaving the context without an error gives it its name.

    Raises:
        InputError: something lies at ``path``, or its folder cannot be written.
    """

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        check_free(path)
        self._path, self._attributes = path, attributes

    def __enter__(self) -> ImportWriter:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self._path.name}.", dir=self._path.parent))
        except OSError as error:
            raise InputError("OUTPUT", str(self._path), "a folder that can be written", str(error)) from error
        self._made = self._folder / self._path.name
        try:
            with interrupts_later():
                self._group = zarr.create_group(self._made, zarr_format=3, attributes=self._attributes)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    @interrupts_later()
    def array(self, name: str, shape: Vector, dtype: str, frame: Frame, by_section: bool) -> ImportedArray:
        """A new array of the group; ``by_section``: it is written in whole sections."""
        shard, chunk = shard_and_chunk(shape, by_section)
        attributes = {**frame.attributes(), "types": ["space"] * 3}
        made = create_array(
            self._group,
            name,
            shape=shape,
            dtype=dtype,
            shard_shape=shard,
            chunk_shape=chunk,
            attributes=attributes,
        )
        return ImportedArray(made.array, (shard[0], shape[1], shape[2]) if by_section else shard)

    @interrupts_later()
    def set_attributes(self, attributes: dict[str, Any]) -> None:
        self._group.attrs.update(attributes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                flush_to_disk(p for p in self._made.rglob("*") if p.is_file())
                check_free(self._path)
                self._made.rename(self._path)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


class ImportedArray:
    """An array that is written once, block by block, every shard by one block."""

    def __init__(self, array: zarr.Array[Any], block: Vector) -> None:
        self._array, self._grid = array, Grid(block)
        self._bounds = whole(vector(array.shape))

    def blocks(self, inside: Box | None = None) -> Iterator[Box]:
        """The boxes to write, or those parts of them that lie in ``inside``; every block is within one shard row."""
        region = inside or self._bounds
        for index in indices(self._grid.covering(region)):
            yield self._grid.box(index).intersect(region)

    @interrupts_later()
    def write(self, box: Box, data: npt.NDArray[Any]) -> None:
        self._array[box.slices()] = data


def shard_and_chunk(shape: Vector, by_section: bool) -> tuple[Vector, Vector]:
    """(shard, chunk), no larger than the volume needs; the shard holds whole chunks."""
    shards, chunks = SECTIONS if by_section else BOXES
    chunk = vector(np.minimum(chunks, shape))
    needed = -np.floor_divide(np.negative(shape), chunk)
    return vector(np.multiply(chunk, np.minimum(np.floor_divide(shards, chunk), needed))), chunk


def check_free(path: Path) -> None:
    """Raise InputError where something lies at ``path``: an import never replaces data."""
    if path.exists():
        raise InputError("OUTPUT", str(path), "a path where nothing lies", "choose another, or move it away")
