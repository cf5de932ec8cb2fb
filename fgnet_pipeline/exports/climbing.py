"""Stages that bring together what belongs to one segment, over the octree of the result, from the leaves up.

A segment is *closed* at the lowest node of the octree that holds all of its fragments: nothing of it is left outside.
There everything that was found of it is at hand. Below that node it is *open*, and a node hands the rows of open
segments to its parent. So a node holds only segments that reach beyond the nodes below it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.task import NO_CONTEXT, Task
from fgnet_pipeline.exports.by_segment import Source
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.stages.checked_tables import key_of, read_entering, read_leaving, read_lut
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import Octree, agglomerate_task, lut_task, octree_of
from fgnet_pipeline.stages.segments_of_fragments import look_up
from fgnet_pipeline.stages.stage import Stage
from fgnet_pipeline.store.tables import Columns, Tables

Ids = npt.NDArray[np.uint64]


class ClimbingStage(Stage):
    """A stage with one task per level of the octree of the result, leaves first.

    Its one table has the columns `segment`, by which it is sorted, `closed` (1 or 0) and others.
    """

    scheduled_as = "agglomerate"
    by_voxel = False
    keys_in_tables = True
    #: Names of the tasks that a leaf reads, beside those that say which segments are closed.
    leaf_upstream: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self, job: ExportJob) -> dict[str, object]:
        """The document of everything that determines the results, beside their inputs."""
        return {}

    def plan(self, job: Job) -> list[Task]:
        """One task per level. A node reads its children, and what tells it which segments are closed."""
        tree, tasks = octree_of(exported(job).source), []
        for level in range(tree.levels):
            below = self.leaf_upstream if level == 0 else (self.task_of(level - 1),)
            upstream = (*below, agglomerate_task(level), lut_task(level))
            fingerprint = {"format": self.format_version, "level": level, **self.fingerprint(exported(job))}
            tasks.append(
                Task(
                    self.task_of(level), self.name, tree.grid(level), NO_CONTEXT, NO_CONTEXT, job.roi, upstream,
                    fingerprint,
                )
            )  # fmt: skip
        return tasks

    def task_of(self, level: int) -> str:
        """The task of the nodes of `level`."""
        return f"{self.name}-{level}"

    def tables_of(self, job: ExportJob, level: int) -> Tables:
        """The tables of the nodes of `level`."""
        return job.output.tables(self.task_of(level), self.name)

    def read(self, job: ExportJob, level: int, node: Vector, columns: list[str] | None = None) -> Columns:
        """Read the table of a node.

        Raises:
            DamageError: it is missing, torn, or does not belong to the plan.
        """
        return self.tables_of(job, level).read(node, columns, key_of(job, self.task_of(level), node))


class Climber:
    """Computes the nodes of one level in one worker.

    Args:
        job: the export.
        stage: of the task.
        task: of one level.
    """

    def __init__(self, job: ExportJob, stage: ClimbingStage, task: Task) -> None:
        assert task.level is not None  # ClimbingStage.plan names every task with its level
        self.job, self.stage, self.level, self.tree = job, stage, task.level, octree_of(job.source)
        self.written = stage.tables_of(job, task.level)

    def children(self, node: Vector) -> list[Source]:
        """The tables of the nodes below `node`, for what is open there."""
        task = self.stage.task_of(self.level - 1)
        tables = self.stage.tables_of(self.job, self.level - 1)
        below = self.job.plan.active_blocks(task, self.tree.children(node))
        return [Source(tables, child, key_of(self.job, task, child), only_open=True) for child in below]

    def open_segments(self, node: Vector) -> Ids:
        """The sorted segments of a node that have, or may have, fragments outside it.

        Raises:
            DamageError: a table of the result is damaged or contradicts another one.
        """
        return open_segments(self.job, self.tree, self.level, node)


def with_closed(rows: Columns, still_open: Ids) -> Columns:
    """Rows and whether their segments are closed, given the open segments, sorted."""
    return rows | {"closed": (~np.isin(rows["segment"], still_open)).astype(np.uint8)}


def open_segments(job: ExportJob, tree: Octree, level: int, node: Vector) -> Ids:
    """The sorted segments of a node that have, or may have, fragments outside it.

    Raises:
        DamageError: a table of the result is damaged or contradicts another one.
    """
    if level == tree.levels - 1:
        return np.zeros(0, np.uint64)
    names = read_leaving(job.source, tree, level, node, read_entering(job.source, tree, level, node))
    lut = read_lut(job.source, level, node)
    return np.unique(look_up(job.source, level, node, lut, names))


def no_rows(stage: ClimbingStage) -> Columns:
    """The columns of the table of a stage but `closed`, without a row."""
    columns: Columns = {}
    for name, described in stage.tables[0].columns.items():
        dtype, _, width = described.rstrip("]").partition("[")
        if name != "closed":
            columns[name] = np.zeros((0, int(width)) if width else 0, dtype)
    return columns
