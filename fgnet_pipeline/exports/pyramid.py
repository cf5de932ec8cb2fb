"""The stages of a pyramid: one task per level, and every level is made of the level below it in the target.

The lattice of every level is anchored at voxel 0 of the volume. A block of level n is as many voxels of level n as a
block of level 0 has of level 0. It is written by one worker, in whole shards, and reads up to 8 blocks of level n - 1.
Blocks have an even number of voxels along every axis, so each voxel of level n has all of its children in one block.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.exports.arrays import ResultArray, chosen_arrays
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.levels import Level
from fgnet_pipeline.kernels.downsample import by_mean, by_mode, cells_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.stages.stage import Stage, TableOutput

Voxels = npt.NDArray[Any]


class LevelArray(Protocol):
    """A level of a pyramid in the target. Boxes are in voxels of the level."""

    def read(self, box: Box) -> Voxels:
        """The voxels (z, y, x) or (C, z, y, x) of `box`; 0 outside of the blocks that were written."""

    def write(self, block: Box, written: Box, data: Voxels) -> list[Path]:
        """Write `data` at `written` and zeros elsewhere in `block`; returns the files to flush to disk."""


class PyramidStage(Stage):
    """All levels of one array in one format.

    Attributes:
        exported: the array.
    """

    exported: ClassVar[ResultArray]
    scheduled_as = "relabel"
    bytes_per_voxel = (8, 40)

    @abstractmethod
    def default_arrays(self) -> tuple[str, ...]:
        """Names of the arrays that the format writes if the user names none."""

    @abstractmethod
    def block_shape(self, job: ExportJob) -> Vector:
        """Voxels of a block of every level, zyx, even numbers."""

    @abstractmethod
    def layout(self, job: ExportJob) -> Mapping[str, Any]:
        """How a level is stored, as a JSON document for the fingerprint."""

    @abstractmethod
    def levels(self, job: ExportJob) -> list[Level]:
        """The levels to write."""

    @abstractmethod
    def open_level(self, job: ExportJob, level: Level) -> LevelArray:
        """Open a level that exists in the target."""

    def plan(self, job: Job) -> list[Task]:
        """One task per level; none if the array is not exported."""
        assert isinstance(job, ExportJob)  # only exports have this stage
        if self.exported not in chosen_arrays(job.source, job.options, self.default_arrays()):
            return []
        return [self._task(job, level) for level in self.levels(job)]

    def _task(self, job: ExportJob, level: Level) -> Task:
        block = self.block_shape(job)
        fingerprint = {
            "format": self.format_version,
            "block_shape": list(block),
            "factor": list(level.factor),
            "step": list(level.step),
            **self.layout(job),
        }
        upstream: tuple[str, ...] = (self._name(level.number - 1),)
        if level.number == 0:
            upstream = self.exported.upstream(job.source)
            fingerprint |= self.exported.identity(job.source)
        grid = Grid(vector(np.multiply(block, level.factor)))
        name = self._name(level.number)
        return Task(name, self.name, grid, NO_CONTEXT, NO_CONTEXT, job.roi, upstream, fingerprint, masked=True)

    def _name(self, level: int) -> str:
        return f"{self.name}-{level}"

    def has_key_table(self, task: Task) -> bool:
        """Whether blocks keep their keys in tables. Above level 0 a key depends on ever more blocks of the result."""
        return task.level != 0

    def open(self, job: Job, task: Task, worker: int) -> PyramidWorker:
        """Make the object that writes blocks of one level."""
        assert isinstance(job, ExportJob) and task.level is not None  # `plan` names every task with its level
        return PyramidWorker(job, self, task)


class PyramidWorker:
    """Writes blocks of one level.

    Args:
        job: the export.
        stage: of the array.
        task: of the level.
    """

    def __init__(self, job: ExportJob, stage: PyramidStage, task: Task) -> None:
        self.job, self.array, self.task = job, stage.exported, task
        levels, number = stage.levels(job), task.level or 0
        self.level, self.target = levels[number], stage.open_level(job, levels[number])
        self.below = stage.open_level(job, levels[number - 1]) if number else None
        self.grid = Grid(stage.block_shape(job))
        self.keys = job.output.tables(stage.tables[0].kind_of(task), stage.name) if number else None

    def load(self, block: Block) -> Voxels:
        """The voxels (z, y, x) or (C, z, y, x) of a block, inside the region of interest.

        Blocks of the level below are read and halved one at a time, so memory holds only one of them.
        """
        if self.below is None:
            return self.array.read(self.job.source, block.write)
        cells, step = self.level.cells(block.write), self.level.step
        inside = cells_of(block.write, vector(np.floor_divide(self.level.factor, step)))
        channels = self.array.channels(self.job.source)
        result: Voxels | None = None
        whole = self.grid.box(block.index)
        children = Box(vector(np.multiply(whole.begin, step)), vector(np.multiply(whole.end, step)))
        for index in indices(self.grid.covering(children)):
            part = self.grid.box(index).intersect(inside)
            if not part:
                continue
            halved = self._halved(part)
            if result is None:
                result = np.zeros(channels + cells.shape, halved.dtype)
            result[(..., *cells_of(part, step).slices(cells.begin))] = halved
        assert result is not None  # a block of the plan has voxels
        return result

    def _halved(self, box: Box) -> Voxels:
        """The voxels of this level whose children lie in `box`, which is in voxels of the level below."""
        assert self.below is not None
        children = self.below.read(box)
        reduce = by_mode if self.array.is_label else by_mean
        return reduce(children, box.begin, self.level.step)

    def compute(self, block: Block, loaded: Voxels) -> Voxels:
        """The voxels as they are stored."""
        return loaded

    def store(self, block: Block, computed: Voxels) -> Outcome:
        """Write the block and, above level 0, its key."""
        files = self.target.write(self.grid.box(block.index), self.level.cells(block.write), computed)
        if self.keys is not None:
            columns = {"nonzero": np.asarray([np.count_nonzero(computed)], np.int64)}
            files = [*files, self.keys.write(block.index, columns, block.key)]
        return outcome_of_array(computed, files)


def key_tables(name: str) -> tuple[TableOutput, ...]:
    """The tables of a stage of this module, which is called `name`: one row per block above level 0."""
    return (TableOutput(name, {"nonzero": "int64"}, redo=name),)
