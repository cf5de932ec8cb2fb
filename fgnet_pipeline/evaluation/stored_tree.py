"""The merge tree of a finished agglomeration, read only as far as some fragments need it.

The merges of a fragment are stored in the octree nodes above it: its leaf, the parent of the leaf, and so on to the
root. No other node is needed, since both clusters of a merge lie inside the node that merged them. Therefore the
segment of a fragment at any threshold takes one table per level of the octree, however large the volume is.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.plan import single
from fgnet_pipeline.execution.resume import check_fresh, left
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, lut, sort_merges
from fgnet_pipeline.stages.checked_tables import read_merges
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.registry import plan_job
from fgnet_pipeline.store.arrays import use_threads

NEEDED = ("fragments", "edges", "agglomerate")
Ids = npt.NDArray[np.uint64]


def open_agglomerated(config: Config) -> Job:
    """The job of a configuration whose agglomeration is finished, at whatever threshold. Nothing is written.

    Raises:
        InputError: an output of another configuration, or one that is not finished for the region of interest.
    """
    return open_finished(config, NEEDED, "agglomeration")


def open_finished(config: Config, stages: Collection[str], what: str) -> Job:
    """The job of a configuration of which some stages are finished. Nothing is written.

    Args:
        config: of the run.
        stages: that must be finished.
        what: they make together, for the error.

    Raises:
        InputError: an output of another configuration, or one that is not finished for the region of interest.
    """
    use_threads(config.schedule.threads)
    job = open_job(config)
    plan_job(job, new_affinities=False)
    names = [task.name for task in job.plan.tasks.values() if task.stage in stages]
    check_fresh(job, names, None)
    for name in names:
        state = left(job, name)
        todo, active = int(state.todo.sum()), int(state.active.sum())
        if todo:
            raise InputError(
                "output.path",
                job.output.path,
                f"a finished {what} ({name}: {todo} of {active} blocks missing)",
                "run `fgnet run` with this configuration first",
            )
    return job


class StoredTree:
    """Rows of the merge tree; every fragment that is asked for may add some.

    Args:
        job: of a finished agglomeration.

    Raises:
        DamageError: from every method: a table is missing, torn, made of other fragments, or no merge tree.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.tree = job, octree_of(job)
        self._parts: dict[tuple[int, Vector], Merges] = {}
        self._merges: Merges | None = None

    @property
    def merges(self) -> Merges:
        """All rows read so far, in canonical order."""
        if self._merges is None:
            parts = [Merges(*(np.zeros(0, np.uint64) for _ in Merges._fields)), *self._parts.values()]
            columns = [np.concatenate([part[i] for part in parts]) for i in range(len(Merges._fields))]
            self._merges = sort_merges(*columns)
        return self._merges

    def include(self, ids: Ids) -> bool:
        """Read the nodes above fragments.

        Args:
            ids: fragments (n,) uint64.

        Returns:
            Whether a node was read that had not been read before.
        """
        before = len(self._parts)
        for level in range(self.tree.levels):
            for z, y, x in np.unique(self.tree.node_of(ids, level), axis=0):
                self._read(level, (int(z), int(y), int(x)))
        return len(self._parts) > before

    def _read(self, level: int, node: Vector) -> None:
        if (level, node) in self._parts or not self.job.plan.active(f"agglomerate-{level}", single(node)).all():
            return
        self._parts[level, node] = read_merges(self.job, self.tree, level, node)
        self._merges = None

    def names(self, ids: Ids) -> Ids:
        """The fragments `ids` (n,) and all fragments that the rows read so far name, sorted, without duplicates."""
        return np.unique(np.concatenate([ids, self.merges.a, self.merges.b]))

    def segments(self, ids: Ids, threshold: float) -> Ids:
        """The segment (n,) of each of the fragments `ids` (n,) at a threshold in [0, 1]."""
        self.include(ids)
        names = self.names(ids)
        return lut(names, self.merges, threshold)[np.searchsorted(names, ids)]

    def members(self, segment: int, threshold: float) -> Ids:
        """The fragments of a segment at a threshold in [0, 1], sorted, with the one that names the segment.

        Nodes are read until none of them adds a fragment.
        """
        members, more = np.array([segment], np.uint64), True
        self.include(members)
        while more:
            names = self.names(members)
            members = names[lut(names, self.merges, threshold) == segment]
            more = self.include(members)
        return members
