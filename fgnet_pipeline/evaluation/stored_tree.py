"""The merge tree of a finished agglomeration, read as far as some fragments need it.

A fragment's merges lie in the octree nodes above it: its leaf, the leaf's parent, and so on to the root. Following its
pointers never leaves these nodes, since a cluster that merged in a node lay inside it with both parts. So the segment
of a fragment at any threshold takes the tables of its ancestors, whatever the volume.
"""

from __future__ import annotations

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
    """The job of a configuration whose agglomeration is finished; nothing is written. The threshold does not matter.

    Raises:
        InputError: an output of another configuration, or one that is not finished for the region of interest.
    """
    use_threads(config.schedule.threads)
    job = open_job(config)
    plan_job(job, new_affinities=False)
    names = [task.name for task in job.plan.tasks.values() if task.stage in NEEDED]
    check_fresh(job, names, None)
    for name in names:
        state = left(job, name)
        todo, active = int(state.todo.sum()), int(state.active.sum())
        if todo:
            raise InputError(
                "output.path",
                job.output.path,
                f"a finished agglomeration ({name}: {todo} of {active} blocks missing)",
                "run run_agglomerate.py with this configuration first",
            )
    return job


class StoredTree:
    """Rows of the merge tree, more of them with every fragment asked for.

    Raises:
        DamageError: a table is missing, torn, of other fragments, or no merge tree.
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
        """Read the nodes above fragments; whether any was new."""
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
        """Sorted: fragments and all that the rows read so far name."""
        return np.unique(np.concatenate([ids, self.merges.a, self.merges.b]))

    def segments(self, ids: Ids, threshold: float) -> Ids:
        """The segment (n,) of each of the fragments (n,) at a threshold."""
        self.include(ids)
        names = self.names(ids)
        return lut(names, self.merges, threshold)[np.searchsorted(names, ids)]

    def members(self, segment: int, threshold: float) -> Ids:
        """Sorted fragments of a segment, itself among them; more nodes are read until none of them adds a fragment."""
        members, more = np.array([segment], np.uint64), True
        self.include(members)
        while more:
            names = self.names(members)
            members = names[lut(names, self.merges, threshold) == segment]
            more = self.include(members)
        return members
