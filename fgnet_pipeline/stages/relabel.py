"""Stage 5: fragments -> segmentation. A block reads only the part of the LUT that its own fragments need."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Grid, Vector
from fgnet_pipeline.core.task import NO_CONTEXT, Task
from fgnet_pipeline.kernels.relabel import id_range, relabel
from fgnet_pipeline.stages.checked_tables import read_lut_range
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.lut import task_name
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.stage import Outcome, outcome_of_array
from fgnet_pipeline.store.arrays import storage_shapes

FORMAT = 1
Ids = npt.NDArray[np.uint64]


def plan_task(job: Job) -> Task:
    """The relabel task."""
    block = job.config.schedule.block_shape_of("relabel")
    shard, chunk = storage_shapes(block, job.config.output.shard_shape, job.config.output.chunk_shape, "relabel")
    fingerprint = {
        "format": FORMAT,
        "block_shape": list(block),
        "shard_shape": list(shard),
        "chunk_shape": list(chunk),
    }
    return Task(
        "relabel", "relabel", Grid(block), NO_CONTEXT, NO_CONTEXT, job.roi, ("fragments", task_name(0)), fingerprint,
        masked=True,
    )  # fmt: skip


class Relabel:
    """Looks every voxel up; a fragment that the LUT misses is an error, never a silent 0."""

    def __init__(self, job: Job, worker: int = 0) -> None:
        self.job, self.task, self.tree = job, job.plan.tasks["relabel"], octree_of(job)

    def load(self, block: Vector) -> tuple[Ids, Ids, Ids]:
        """(fragments of the block, ids sorted, segments)."""
        box = self.job.plan.write_box("relabel", block)
        fragments = np.ascontiguousarray(self.job.read_fragments(box))
        if self.job.fragments is not None and self.job.mask is not None:
            fragments = np.where(self.job.mask.read(box), fragments, np.uint64(0))
        low, high = id_range(fragments)
        if high == 0:
            return fragments, np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        parts = [read_lut_range(self.job, leaf, int(low), int(high)) for leaf in self._leaves(block)]
        ids, segments = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(ids)
        return fragments, ids[order], segments[order]

    def _leaves(self, block: Vector) -> list[Vector]:
        """The leaves that the block touches and that hold fragments."""
        return self.job.plan.active_blocks(task_name(0), self.tree.grid(0).covering(self.task.read_box(block)))

    def compute(self, block: Vector, loaded: tuple[Ids, Ids, Ids]) -> npt.NDArray[np.uint64]:
        fragments, ids, segments = loaded
        result, missing = relabel(fragments, ids, segments)
        if missing:
            raise DamageError(f"the LUT misses fragment {missing} of block {block}: run again with --redo agglomerate")
        return result

    def store(self, block: Vector, computed: npt.NDArray[np.uint64]) -> Outcome:
        box = self.job.plan.write_box("relabel", block)
        files = self.job.write_block("segmentation", self.task.grid.box(block), box, computed)
        return outcome_of_array(computed, files)
