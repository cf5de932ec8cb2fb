"""Stage lut: merge tree -> LUT (the segment of every fragment at a threshold), node by node from the root down.

1. A node reads from the LUT of its parent the segments of the clusters that it handed to the parent.
2. With its own merges it finds the segments of all clusters that its children handed to it.
3. A leaf finds the segments of all of its fragments. Its table is sorted by fragment, so that the fragments of one
   block are one range of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, lut
from fgnet_pipeline.kernels.relabel import places
from fgnet_pipeline.stages.checked_tables import (
    listed_ids,
    node_tables,
    read_entering,
    read_leaving,
    read_lut,
    read_merges,
)
from fgnet_pipeline.stages.density import NODE_SECONDS, Density, node_fragments
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import agglomerate_task, lut_task, octree_of
from fgnet_pipeline.stages.outcome import Outcome, write_table
from fgnet_pipeline.stages.stage import WORKER_BYTES, Contradiction, Stage, TableOutput
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]
#: Bytes of memory per row of a LUT (docs/scale.md).
BYTES_PER_ROW = 64


class LutStage(Stage):
    """Merge tree -> LUT."""

    name = "lut"
    summary = "The merge tree, cut at agglomerate.threshold: the segment of every fragment."
    after = ("agglomerate",)
    reads: ClassVar[Mapping[str, str]] = {"fragments": "tables"}
    tables = (TableOutput("lut", {"fragment": "uint64", "segment": "uint64"}, redo="agglomerate", row_bytes=5),)
    scheduled_as = "agglomerate"
    by_voxel = False
    keys_in_tables = True

    def plan(self, job: Job) -> list[Task]:
        """One task per level, root first. Only these tasks have the threshold in their fingerprints."""
        tree = octree_of(job)
        tasks = []
        for level in reversed(range(tree.levels)):
            fingerprint = {
                "format": self.format_version, "threshold": job.config.agglomerate.threshold, "level": level,
            }  # fmt: skip
            upstream = [agglomerate_task(level)]
            upstream += [lut_task(level + 1)] if level + 1 < tree.levels else []
            upstream += ["fragments"] if level == 0 else []
            tasks.append(
                Task(
                    lut_task(level), self.name, tree.grid(level), NO_CONTEXT, NO_CONTEXT, job.roi, tuple(upstream),
                    fingerprint, cheap=True,
                )
            )  # fmt: skip
        return tasks

    def open(self, job: Job, task: Task, worker: int) -> Lut:
        """Make the object that computes the LUTs of one level."""
        return Lut(job, task)

    def memory(self, job: Job, task: Task, density: Density, channels: int) -> int:
        """Estimate the bytes of a node from its rows."""
        return WORKER_BYTES + round(self.rows(job, task, density) * BYTES_PER_ROW)

    def rows(self, job: Job, task: Task, density: Density) -> float:
        """Estimate the fragments of a leaf, or the clusters that a higher node starts from."""
        return node_fragments(job, task, density)

    def seconds(self, job: Job, task: Task, density: Density) -> float:
        """Seconds of a node whatever its size. The time per edge is part of the agglomerate stage's estimate."""
        return NODE_SECONDS

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """Check that fragments are in order, that each has a segment, and that a leaf lacks none."""
        columns = tables["lut"]
        names, segments = (columns[name].astype(np.uint64) for name in ("fragment", "segment"))
        if (names[1:] <= names[:-1]).any() or (segments == 0).any():
            return Contradiction("its fragments are out of order, or one has no segment", "lut")
        tree = octree_of(job)
        if block.whole.shape != tree.grid(0).block_shape:
            return None
        known = listed_ids(job, tree.blocks_of_leaf(block.index))
        missed = known[~np.isin(known, names)] if known is not None else names[:0]
        return Contradiction(f"it misses fragment {missed[0]}", "lut") if len(missed) else None


class Lut:
    """Computes the LUTs of the nodes of one level."""

    def __init__(self, job: Job, task: Task) -> None:
        assert task.level is not None  # LutStage.plan names every task with its level
        self.job, self.level, self.tree = job, task.level, octree_of(job)
        self.tables = job.output.tables(task.name, "agglomerate")
        self.threshold = job.config.agglomerate.threshold

    def load(self, block: Block) -> tuple[Ids, Merges, tuple[Ids, Ids] | None]:
        """Read the names and merges of a node, and the segments of the clusters that it handed to its parent.

        Returns:
            (sorted names that the node started from, its merges, (sorted names of the clusters that it handed on, their
            segments)). The last one is None at the root.

        Raises:
            DamageError: a table is damaged or contradicts another one.
        """
        ids = read_entering(self.job, self.tree, self.level, block.index)
        merges = read_merges(self.job, self.tree, self.level, block.index, ids)
        is_root = self.level == self.tree.levels - 1
        return ids, merges, None if is_root else self._roots(block.index, ids)

    def _roots(self, node: Vector, entering: Ids) -> tuple[Ids, Ids]:
        names = read_leaving(self.job, self.tree, self.level, node, entering)
        if len(names) == 0:
            return names, names
        above = vector(np.floor_divide(node, 2))
        known, segments = read_lut(self.job, self.level + 1, above)
        at, found = places(known, names)
        if not found.all():
            raise node_tables(self.job, "lut", self.level + 1).damage(above, "it misses a cluster of a node below")
        return names, segments[at]

    def compute(self, block: Block, loaded: tuple[Ids, Merges, tuple[Ids, Ids] | None]) -> Columns:
        """The columns of the LUT: `fragment` (sorted) and `segment`."""
        ids, merges, roots = loaded
        return {"fragment": ids, "segment": lut(ids, merges, self.threshold, roots)}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the LUT of the node."""
        return write_table(self.tables, block, computed)


STAGE = LutStage()
