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

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.execution.resume import blocks_where, left
from fgnet_pipeline.exports.arrays import ARRAYS, ResultArray, chosen_arrays
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.id_tables import id_tables, write_id_tables
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.levels import Level
from fgnet_pipeline.exports.numbering import STAGES, Kind, Numbering, count_task
from fgnet_pipeline.kernels.downsample import by_mean, by_mode, cells_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.stages.stage import Stage, TableOutput
from fgnet_pipeline.store.stored_files import remove_unfinished_below

Voxels = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]


class LevelArray(Protocol):
    """A level of a pyramid in the target. Boxes are in voxels of the level."""

    def read(self, box: Box) -> Voxels:
        """The voxels (z, y, x) or (C, z, y, x) of `box`; 0 outside of the blocks that were written."""

    def write(self, block: Box, written: Box, data: Voxels) -> list[Path]:
        """Write `data` at `written` and zeros elsewhere in `block`; returns the files to flush to disk."""

    def lost(self, grid: Grid, blocks: Box, nonzero: Flags) -> Flags:
        """Which blocks should have a file, but have none.

        Args:
            grid: of the blocks, in voxels of the level.
            blocks: index box, zyx.
            nonzero: of its shape, whether a block has a voxel that is not 0.
        """

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the voxels."""


class PyramidStage(Stage):
    """All levels of one array in one format.

    Attributes:
        exported: the array.
        default_arrays: names of the arrays that the format writes if the user names none.
    """

    exported: ClassVar[ResultArray]
    default_arrays: ClassVar[tuple[str, ...]]
    scheduled_as = "relabel"
    bytes_per_voxel = (8, 40)

    @abstractmethod
    def block_shape(self, job: ExportJob) -> Vector:
        """Voxels of a block of every level, zyx, even numbers."""

    @abstractmethod
    def layout(self, job: ExportJob) -> Mapping[str, Any]:
        """The storage of a level, as a JSON document for the fingerprint."""

    @abstractmethod
    def levels(self, job: ExportJob) -> list[Level]:
        """The levels to write."""

    @abstractmethod
    def open_level(self, job: ExportJob, level: Level) -> LevelArray:
        """Open a level that exists in the target."""

    def plan(self, job: Job) -> list[Task]:
        """One task per level; none if the array is not exported."""
        export = exported(job)
        if self.exported not in chosen_arrays(export.source, export.options, self.default_arrays):
            return []
        return [self._task(export, level) for level in self.levels(export)]

    def _task(self, job: ExportJob, level: Level) -> Task:
        block = self.block_shape(job)
        fingerprint = {
            "format": self.format_version,
            "block_shape": list(block),
            "factor": list(level.factor),
            "step": list(level.step),
            **self.layout(job),
        }
        upstream: tuple[str, ...] = (self.task_of(level.number - 1),)
        if level.number == 0:
            upstream = self.exported.upstream(job.source)
            fingerprint |= self.exported.identity(job.source)
            if job.options.compact_ids and self.exported.kind is not None:
                upstream = (*upstream, count_task(self.exported.kind))
        grid = Grid(vector(np.multiply(block, level.factor)))
        name = self.task_of(level.number)
        return Task(name, self.name, grid, NO_CONTEXT, NO_CONTEXT, job.roi, upstream, fingerprint, masked=True)

    def task_of(self, level: int) -> str:
        """Name of the task of a level."""
        return f"{self.name}-{level}"

    def has_key_table(self, task: Task) -> bool:
        """Whether blocks keep their keys in tables. Above level 0 a key depends on ever more blocks of the result."""
        return task.level != 0

    def open(self, job: Job, task: Task, worker: int) -> PyramidWorker:
        """Make the object that writes blocks of one level."""
        return PyramidWorker(exported(job), self, task)


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
        is_numbered = number == 0 and job.options.compact_ids and self.array.kind is not None
        self.numbering = Numbering(job, self.array.kind) if is_numbered and self.array.kind else None
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
        """The voxels as they are stored: with compact ids, if these were asked for.

        Raises:
            DamageError: there are more ids than the type of the array can number.
        """
        if self.numbering is None:
            return loaded
        dtype = self.target.dtype
        if self.numbering.count > np.iinfo(dtype).max:
            raise DamageError(f"{self.numbering.count} ids do not fit {dtype}: delete the export, and begin it again")
        return self.numbering.compact(loaded).astype(dtype)

    def store(self, block: Block, computed: Voxels) -> Outcome:
        """Write the block and, above level 0, its key."""
        files = self.target.write(self.grid.box(block.index), self.level.cells(block.write), computed)
        if self.keys is not None:
            columns = {"nonzero": np.asarray([np.count_nonzero(computed)], np.int64)}
            files = [*files, self.keys.write(block.index, columns, block.key)]
        return outcome_of_array(computed, files)


class PyramidFormat(Format):
    """A format of pyramids. The stages that number ids come first."""

    default_arrays: ClassVar[tuple[str, ...]]

    def chosen(self, job: ExportJob) -> list[ResultArray]:
        """The arrays to export."""
        return chosen_arrays(job.source, job.options, self.default_arrays)

    def plan(self, job: ExportJob) -> list[Task]:
        """The levels. Only ids of the chosen arrays are numbered."""
        unused = {stage.name for kind, both in STAGES.items() if kind not in self._kinds(job) for stage in both}
        return [task for stage in self.stages if stage.name not in unused for task in stage.plan(job)]

    def paths(self, job: ExportJob) -> list[Path]:
        """The folder, and the tables of ids."""
        return [job.target, *id_tables(job, self._kinds(job)).values()]

    def requeue_lost(self, job: ExportJob) -> None:
        """Let the blocks be written again whose files were deleted. All levels exist in the target."""
        for stage in self.stages:
            if not isinstance(stage, PyramidStage) or stage.exported not in self.chosen(job):
                continue
            for level in stage.levels(job):
                name, progress = stage.task_of(level.number), job.output.progress
                done, blocks = left(job, name).done, job.plan.blocks(name)
                if not done.any():
                    continue
                nonzero = progress.latest(name, blocks).nonzero
                lost = done & stage.open_level(job, level).lost(Grid(stage.block_shape(job)), blocks, nonzero)
                progress.withdraw(name, blocks_where(job, name, lost), (progress.driver() or 0) + 1)

    def finish(self, job: ExportJob) -> list[str]:
        """Write the tables of stored and compact ids, and remove what killed workers left."""
        remove_unfinished_below(job.target)
        return write_id_tables(job, self._kinds(job))

    def _kinds(self, job: ExportJob) -> list[Kind]:
        """The kinds of ids of the chosen arrays."""
        return [array.kind for array in self.chosen(job) if array.kind is not None]


def stages_of_arrays(base: type[PyramidStage], prefix: str, what: str) -> tuple[PyramidStage, ...]:
    """One stage per array that can be exported.

    Args:
        base: the stage of the format.
        prefix: of the names of the stages.
        what: what a stage writes, for its summary, which begins with the name of the array.
    """
    made = []
    for array in ARRAYS.values():
        name = f"{prefix}-{array.name}"
        tables = (TableOutput(name, {"nonzero": "int64"}, redo=name),)  # one row per block above level 0
        attributes = {"name": name, "summary": f"The {array.name}: {what}.", "exported": array, "tables": tables}
        made.append(type(f"{base.__name__}Of{array.name.title()}", (base,), attributes)())
    return tuple(made)
