"""Disk space of a job: bytes of arrays, tables and records, and the number of files and folders.

docs/scale.md lists the assumed numbers.
"""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages.density import Density
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import array_of, stage_of
from fgnet_pipeline.store.arrays import storage_shapes

#: Bytes of a done record.
RECORD_BYTES = 320
#: Bytes of a table without rows.
TABLE_BYTES = 3000
#: Number of blocks, at most, whose shards are measured to find how well an array compresses.
BLOCKS_MEASURED = 32


@dataclass(frozen=True)
class ArrayFootprint:
    """How an output array is stored, and how much disk it needs once all active blocks are done.

    Attributes:
        name: below `output.path`.
        shape: voxels, zyx; affinities have the channels in front.
        dtype: numpy's name.
        block_shape: voxels, zyx.
        shard_shape: voxels, zyx.
        chunk_shape: voxels, zyx.
        shards: number of shards, each of which is one file.
        chunks: number of chunks inside all shards.
        bytes_bound: uncompressed size.
        bytes: expected size.
        bytes_from: the source of the compression that `bytes` assumes.
        inodes: greatest number of files and folders.
    """

    name: str
    shape: list[int]
    dtype: str
    block_shape: list[int]
    shard_shape: list[int]
    chunk_shape: list[int]
    shards: int
    chunks: int
    bytes_bound: int
    bytes: int
    bytes_from: str
    inodes: int


def array_footprint(job: Job, task: Task, active: int, compressed: float | None, source: str) -> ArrayFootprint | None:
    """Estimate the array that `task` writes.

    Args:
        job: with its plan.
        task: of the plan.
        active: number of blocks that have work.
        compressed: measured bytes on disk per uncompressed byte. None takes the value that the stage assumes.
        source: of `compressed`, in words.

    Returns:
        None if the task writes only tables.

    Raises:
        InputError: shards that do not divide the blocks, or chunks that do not divide the shards.
    """
    stage = stage_of(task)
    array = stage.array_of(job)
    if array is None:
        return None
    block, output = task.grid.block_shape, job.config.output
    shard, chunk = storage_shapes(block, output.shard_shape, output.chunk_shape, stage.schedule)
    channels = list(stage.array_attributes(task)[0])
    shards = active * prod(np.floor_divide(block, shard).tolist())
    written = np.minimum(block, job.bounds.shape).tolist()
    bound = active * prod([*channels, *written]) * np.dtype(array.dtype).itemsize
    ratio = array.compressed if compressed is None else compressed
    return ArrayFootprint(
        array.name,
        [*channels, *job.bounds.shape],
        array.dtype,
        list(block),
        list(shard),
        list(chunk),
        shards,
        shards * prod(np.floor_divide(shard, chunk).tolist()),
        bound,
        round(bound * ratio),
        "assumed, as in FIB-25" if compressed is None else source,
        shards + _folders(job, task, shard) + 2 + len(channels),
    )


def _folders(job: Job, task: Task, shape: Vector) -> int:
    """Number of folders, at most, for files named z/y/x over the region of interest.

    Args:
        shape: voxels (zyx) that one file holds.
    """
    extent = np.multiply(job.plan.blocks(task.name).shape, task.grid.block_shape) // np.asarray(shape)
    return int(extent[0] * (1 + extent[1]))


def measured_compression(job: Job, task: Task, blocks: list[Vector]) -> float | None:
    """Measure how well the stored array of `task` compresses.

    Args:
        job: with its plan.
        task: of the plan.
        blocks: indices, zyx, of finished blocks. At most `BLOCKS_MEASURED` are measured.

    Returns:
        Bytes on disk per uncompressed byte. None if there is no array, no block, or an object store holds the output.
    """
    name = array_of(job, task.name)
    if name is None or not blocks or is_url(job.output.path) or not job.output.has_array(name):
        return None
    array, stored, plain = job.output.array(name), 0, 0
    for block in blocks[:BLOCKS_MEASURED]:
        box = task.grid.box(block).intersect(job.bounds)
        plain += prod(array.channels) * box.size * array.array.dtype.itemsize
        stored += sum(path.stat().st_size for path in array.shard_files(box) if path.exists())
    return stored / plain if plain else None


@dataclass(frozen=True)
class TableFootprint:
    """How much disk the tables and done records of one task need once all active blocks are done.

    Attributes:
        stage: name of the task.
        kinds: folders of its tables below `tables`.
        files: number of tables.
        bytes: of tables and done records.
        inodes: greatest number of files and folders of the tables.
    """

    stage: str
    kinds: list[str]
    files: int
    bytes: int
    inodes: int


def table_footprint(job: Job, task: Task, active: int, density: Density) -> TableFootprint:
    """Estimate the tables and done records of `task`.

    Args:
        job: with its plan.
        task: of the plan.
        active: number of blocks that have work.
        density: fragments and edges per million voxels.
    """
    stage = stage_of(task)
    kinds = sorted(output.kind_of(task) for output in stage.tables)
    rows = stage.rows(job, task, density)
    size = sum(TABLE_BYTES + rows * output.row_bytes for output in stage.tables)
    folders = _folders(job, task, task.grid.block_shape) + 1
    return TableFootprint(
        task.name, kinds, active * len(kinds), round(active * (size + RECORD_BYTES)), len(kinds) * (active + folders)
    )


def free_space(path: Path) -> tuple[int | None, int | None]:
    """Ask the file system that holds, or will hold, `path` for its free space.

    Returns:
        (bytes, inodes). Inodes are None if the file system reports none. Both are None if no parent of `path` exists.
    """
    for folder in itertools.chain([path], path.parents):
        if folder.exists():
            inodes = os.statvfs(folder).f_favail
            return shutil.disk_usage(folder).free, inodes or None
    return None, None
