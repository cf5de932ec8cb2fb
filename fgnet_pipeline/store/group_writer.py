"""Writes a new volume: a Zarr v3 group that is there as a whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector, whole
from fgnet_pipeline.core.signals import interrupts_later
from fgnet_pipeline.store.arrays import AXES, create_array
from fgnet_pipeline.store.atomic_files import flush_to_disk
from fgnet_pipeline.store.volume import Frame, Size

#: (shard, chunk) in voxels, zyx: of arrays that are written in boxes, and of arrays that are written in whole sections.
BOXES = ((64, 256, 256), (64, 64, 64))
SECTIONS = ((16, 512, 512), (16, 128, 128))
#: Side in voxels of a chunk of an array that is written at once and has no shards.
SMALL_CHUNK = 64


class GroupWriter:
    """Makes a group under a temporary name beside `path`; a `with` that ends without an error gives it its name.

    An error or an interrupt leaves nothing behind.

    Args:
        path: of the group; its folder is made if it does not exist.
        attributes: of the group.
        keep_existing: if another process has made `path` by the end of the `with`, leave that copy and drop this
            one. Otherwise nothing may lie at `path`, now and at the end.
        field: the option or key to name in errors.

    Raises:
        InputError: something lies at `path`, or its folder cannot be written.
    """

    def __init__(
        self, path: Path, attributes: Mapping[str, Any], *, keep_existing: bool = False, field: str = "OUTPUT"
    ) -> None:
        if not keep_existing:
            check_free(path)
        self._path, self._attributes, self._keep_existing, self._field = path, attributes, keep_existing, field

    def __enter__(self) -> GroupWriter:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self._path.name}.", dir=self._path.parent))
        except OSError as error:
            raise InputError(self._field, str(self._path), "a folder that can be written", str(error)) from error
        self._made = self._folder / self._path.name
        try:
            with interrupts_later():
                self._group = zarr.create_group(self._made, zarr_format=3, attributes=dict(self._attributes))
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    @interrupts_later()
    def array(self, name: str, shape: Vector, dtype: str, frame: Frame, by_section: bool) -> BlockArray:
        """Create an array that is then written block by block.

        Args:
            name: of the array.
            shape: voxels, zyx.
            dtype: of the array, e.g. `"uint8"`.
            frame: voxel size and offset.
            by_section: it is written in whole sections.
        """
        shard, chunk = shard_and_chunk(shape, by_section)
        made = create_array(
            self._group,
            name,
            shape=shape,
            dtype=dtype,
            shard_shape=shard,
            chunk_shape=chunk,
            attributes={**frame.attributes(), "types": ["space"] * 3},
        )
        return BlockArray(made.array, (shard[0], shape[1], shape[2]) if by_section else shard)

    @interrupts_later()
    def channel_array(
        self, name: str, channels: int, shape: Vector, dtype: str, frame: Frame, attributes: Mapping[str, Any]
    ) -> BlockArray:
        """Create an array (C, z, y, x) that is then written block by block, with all channels.

        Args:
            name: of the array.
            channels: C.
            shape: voxels, zyx.
            dtype: of the array, e.g. `"uint8"`.
            frame: voxel size and offset.
            attributes: further ones of the array, such as `neighbourhood`.
        """
        shard, chunk = shard_and_chunk(shape, by_section=False)
        made = create_array(
            self._group,
            name,
            shape=(channels, *shape),
            dtype=dtype,
            shard_shape=shard,
            chunk_shape=chunk,
            attributes={**frame.attributes(channels=True), **attributes},
        )
        return BlockArray(made.array, shard)

    @interrupts_later()
    def write_array(self, name: str, data: npt.NDArray[Any], frame: Frame) -> None:
        """Create an array of `data` (z, y, x) without shards and write it at once."""
        attributes = frame.attributes()
        self._group.create_array(
            name,
            data=data,
            chunks=tuple(min(SMALL_CHUNK, n) for n in data.shape),
            dimension_names=AXES[-3:],
            attributes={"offset": attributes.pop("offset"), **attributes, "types": ["space"] * 3},
        )

    @interrupts_later()
    def set_attributes(self, attributes: dict[str, Any]) -> None:
        """Add `attributes` to those of the group."""
        self._group.attrs.update(attributes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                flush_to_disk(p for p in self._made.rglob("*") if p.is_file())
                self._rename()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _rename(self) -> None:
        if not self._keep_existing:
            check_free(self._path)
        try:
            self._made.rename(self._path)
        except OSError:
            if not (self._keep_existing and (self._path / "zarr.json").exists()):
                raise


class BlockArray:
    """An array that is written once, block by block, so that every shard is written by one block.

    Args:
        array: of shape (z, y, x) or (C, z, y, x).
        block: shape of the blocks in voxels, zyx; whole shards.
    """

    def __init__(self, array: zarr.Array[Any], block: Vector) -> None:
        self._array, self._grid = array, Grid(block)
        self._bounds = whole(vector(array.shape[-3:]))

    def blocks(self, inside: Box | None = None) -> Iterator[Box]:
        """The boxes to write, in voxels, cut off at the array's end and, if given, at the box `inside`."""
        region = inside or self._bounds
        for index in indices(self._grid.covering(region)):
            yield self._grid.box(index).intersect(region)

    @interrupts_later()
    def write(self, box: Box, data: npt.NDArray[Any]) -> None:
        """Write `data`, of the shape of `box` and with all channels, at one of the boxes of `blocks`."""
        self._array[(..., *box.slices())] = data


def write_sample(
    path: Path,
    raw: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint64],
    voxel_size: Size,
    attributes: Mapping[str, Any],
) -> None:
    """Write a small volume with its ground truth; a group that is already there stays.

    Args:
        path: of the group; its folder is made if it does not exist.
        raw: grey values (z, y, x), 0 to 255.
        labels: ids (z, y, x) of the shape of `raw`, 0 = no ground truth.
        voxel_size: nm, zyx.
        attributes: of the group, such as where the data come from.

    Raises:
        InputError: the folder cannot be written. OSError: the disk is full.
    """
    frame = Frame(voxel_size, (0.0, 0.0, 0.0))
    with GroupWriter(path, attributes, keep_existing=True, field="cache") as writer:
        writer.write_array("raw", raw, frame)
        writer.write_array("labels", labels, frame)


def shard_and_chunk(shape: Vector, by_section: bool) -> tuple[Vector, Vector]:
    """(shard, chunk) in voxels of an array of `shape`: no larger than it needs; a shard holds whole chunks."""
    shards, chunks = SECTIONS if by_section else BOXES
    chunk = vector(np.minimum(chunks, shape))
    needed = -np.floor_divide(np.negative(shape), chunk)
    return vector(np.multiply(chunk, np.minimum(np.floor_divide(shards, chunk), needed))), chunk


def check_free(path: Path) -> None:
    """Check that nothing lies at `path`, since an import never replaces data.

    Raises:
        InputError: there is a file, a folder or a link, or no path can have this name.
    """
    try:
        taken = path.exists() or path.is_symlink()
    except (OSError, ValueError) as error:
        raise InputError("OUTPUT", str(path), "a path that can be created", f"choose another ({error})") from error
    if taken:
        raise InputError("OUTPUT", str(path), "a path where nothing lies", "choose another, or move it away")
