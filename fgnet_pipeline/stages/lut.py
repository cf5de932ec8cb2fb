"""The merge tree, cut at a threshold -> LUT: every fragment's segment, node by node from the root down.

A node knows the segments of the clusters that it handed up (its parent's LUT) and which merges it made itself; so it
knows the segments of the clusters that its children handed up. A leaf ends with all of its fragments. Each leaf's
table is sorted by fragment, and a block's fragments are one range of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.core.task import NO_CONTEXT, Task
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, lut
from fgnet_pipeline.stages import agglomerate
from fgnet_pipeline.stages.checked_tables import node_tables, read_entering, read_leaving, read_lut, read_merges
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.stage import Outcome, outcome_of_tables

FORMAT = 1
Ids = npt.NDArray[np.uint64]


def task_name(level: int) -> str:
    return f"lut-{level}"


def plan_tasks(job: Job) -> list[Task]:
    """One task a level, root first; only the fingerprints of these hold the threshold."""
    tree = octree_of(job)
    tasks = []
    for level in reversed(range(tree.levels)):
        fingerprint = {"format": FORMAT, "threshold": job.config.agglomerate.threshold, "level": level}
        upstream = [agglomerate.task_name(level)]
        upstream += [task_name(level + 1)] if level + 1 < tree.levels else []
        upstream += ["fragments"] if level == 0 else []
        tasks.append(
            Task(
                task_name(level), "lut", tree.grid(level), NO_CONTEXT, NO_CONTEXT, job.roi, tuple(upstream),
                fingerprint, cheap=True,
            )
        )  # fmt: skip
    return tasks


class Lut:
    """The nodes of one level."""

    def __init__(self, job: Job, level: int) -> None:
        self.job, self.level, self.tree = job, level, octree_of(job)
        self.tables = job.output.tables(f"lut-{level}", "agglomerate")
        self.threshold = job.config.agglomerate.threshold

    def load(self, block: Vector) -> tuple[Ids, Merges, tuple[Ids, Ids] | None]:
        """(all names that enter the node, its merges, (names that left it, their segments) or None at the root)."""
        ids = read_entering(self.job, self.tree, self.level, block)
        merges = read_merges(self.job, self.tree, self.level, block, ids)
        is_root = self.level == self.tree.levels - 1
        return ids, merges, None if is_root else self._roots(block, ids)

    def _roots(self, node: Vector, entering: Ids) -> tuple[Ids, Ids]:
        names = read_leaving(self.job, self.tree, self.level, node, entering)
        if len(names) == 0:
            return names, names
        above = vector(np.floor_divide(node, 2))
        known, segments = read_lut(self.job, self.level + 1, above)
        at = np.minimum(np.searchsorted(known, names), max(0, len(known) - 1))
        if len(known) == 0 or (known[at] != names).any():
            raise node_tables(self.job, "lut", self.level + 1).damage(above, "it misses a cluster of a node below")
        return names, segments[at]

    def compute(self, block: Vector, loaded: tuple[Ids, Merges, tuple[Ids, Ids] | None]) -> dict[str, Any]:
        ids, merges, roots = loaded
        return {"fragment": ids, "segment": lut(ids, merges, self.threshold, roots)}

    def store(self, block: Vector, computed: dict[str, Any]) -> Outcome:
        name = task_name(self.level)
        path = self.tables.write(block, computed, self.job.plan.identity(name, block)[0])
        return outcome_of_tables([(path, computed)], self.job.plan.write_box(name, block).size)
