"""What a job will take on disk: shards, chunks, tables, records, and the files and folders that hold them."""

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

#: Bytes of a done record, and of a table without rows.
RECORD_BYTES, TABLE_BYTES = 320, 3000
#: Blocks whose shards are looked at to learn how well an array compresses.
BLOCKS_MEASURED = 32


@dataclass(frozen=True)
class ArrayFootprint:
    """One output array: how it is stored, and what it takes when all active blocks are done.

    Attributes:
        shards, chunks: files, and inner chunks in all of them.
        bytes_bound: uncompressed. bytes: what to expect; ``bytes_from`` says why.
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
    """The array that ``task`` writes; None for tables.

    Args:
        active: blocks that have work. compressed: measured bytes on disk per uncompressed byte, or None.
        source: where ``compressed`` comes from.
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
    """Folders of files named z/y/x over the region of interest, at most."""
    extent = np.multiply(job.plan.blocks(task.name).shape, task.grid.block_shape) // np.asarray(shape)
    return int(extent[0] * (1 + extent[1]))


def measured_compression(job: Job, task: Task, blocks: list[Vector]) -> float | None:
    """Bytes on disk per uncompressed byte of the stored ``blocks``; None where there are none, or no files."""
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
    """Tables and done records of one task: files, bytes and inodes when all active blocks are done."""

    stage: str
    kinds: list[str]
    files: int
    bytes: int
    inodes: int


def table_footprint(job: Job, task: Task, active: int, density: Density) -> TableFootprint:
    """What the tables of ``task`` and its records take."""
    stage = stage_of(task)
    kinds = sorted(output.kind_of(task) for output in stage.tables)
    rows = stage.rows(job, task, density)
    size = sum(TABLE_BYTES + rows * output.row_bytes for output in stage.tables)
    folders = _folders(job, task, task.grid.block_shape) + 1
    return TableFootprint(
        task.name, kinds, active * len(kinds), round(active * (size + RECORD_BYTES)), len(kinds) * (active + folders)
    )


def free_space(path: Path) -> tuple[int | None, int | None]:
    """(bytes, inodes) that are free where ``path`` is or will be; None where the file system does not say."""
    for folder in itertools.chain([path], path.parents):
        if folder.exists():
            inodes = os.statvfs(folder).f_favail
            return shutil.disk_usage(folder).free, inodes or None
    return None, None
