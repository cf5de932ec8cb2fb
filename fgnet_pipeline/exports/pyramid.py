"""The stages of a pyramid: one task per level, and every level is made of the level below it in the target.

The lattice of every level is anchored at voxel 0 of the volume. A block of level n is as many voxels of level n as a
block of level 0 has of level 0. It is written by one worker, in whole shards, and reads up to 8 blocks of level n - 1.
Blocks have an even number of voxels along every axis, so each voxel of level n has all of its children in one block.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fgnet_pipeline.core.geometry import Grid, Vector, vector
from fgnet_pipeline.core.task import NO_CONTEXT, Task
from fgnet_pipeline.execution.resume import blocks_where, left
from fgnet_pipeline.exports.arrays import ARRAYS, ResultArray, chosen_arrays
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.id_tables import id_tables, write_id_tables
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.levels import Level
from fgnet_pipeline.exports.numbering import STAGES, Kind, count_task
from fgnet_pipeline.exports.pyramid_workers import LevelArray, PyramidWorker, ShardCopier, copied_from
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.stage import Stage, TableOutput
from fgnet_pipeline.store.stored_files import remove_unfinished_below


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
        export = exported(job)
        source = copied_from(export, self) if task.level == 0 else None
        return PyramidWorker(export, self, task) if source is None else ShardCopier(export, self, task, source)


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
