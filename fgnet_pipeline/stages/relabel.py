"""Stage relabel: fragments -> segmentation.

A block reads only the part of the LUT that its own fragments need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Grid, Vector
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.kernels.relabel import id_range, relabel
from fgnet_pipeline.stages.checked_tables import read_lut_range
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import agglomerate_task, lut_task, octree_of
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.stages.stage import ArrayOutput, Stage
from fgnet_pipeline.store.arrays import storage_shapes

Ids = npt.NDArray[np.uint64]


class RelabelStage(Stage):
    """Fragments and LUT -> segmentation."""

    name = "relabel"
    summary = "Every voxel gets the segment of its fragment."
    after = ("lut",)
    array = ArrayOutput("segmentation", "uint64", compressed=0.013)
    reads: ClassVar[Mapping[str, str]] = {"fragments": "array"}
    bytes_per_voxel = (8, 40)

    def plan(self, job: Job) -> list[Task]:
        """One task. It reads fragments and the LUTs of the leaves."""
        block, output = job.config.schedule.block_shape_of(self.name), job.config.output
        shard, chunk = storage_shapes(block, output.shard_shape, output.chunk_shape, self.name)
        fingerprint = {
            "format": self.format_version,
            "block_shape": list(block),
            "shard_shape": list(shard),
            "chunk_shape": list(chunk),
        }
        upstream = ("fragments", lut_task(0))
        return [
            Task(
                self.name, self.name, Grid(block), NO_CONTEXT, NO_CONTEXT, job.roi, upstream, fingerprint, masked=True
            )
        ]  # fmt: skip

    def open(self, job: Job, task: Task, worker: int) -> Relabel:
        """Make the object that relabels blocks."""
        return Relabel(job)


class Relabel:
    """Replaces the fragment of every voxel by its segment.

    A fragment without an entry in the LUT is an error, and never becomes 0.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.tree = job, octree_of(job)

    def load(self, block: Block) -> tuple[Ids, Ids, Ids]:
        """Read the fragments of a block and their LUT.

        Returns:
            (fragments uint64 (z, y, x) of the write region, ids uint64 (n,) sorted, segments uint64 (n,)).
        """
        fragments = np.ascontiguousarray(self.job.read_tissue_fragments(block.write))
        low, high = id_range(fragments)
        if high == 0:
            return fragments, np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        parts = [read_lut_range(self.job, leaf, int(low), int(high)) for leaf in self._leaves(block.read)]
        ids, segments = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(ids)
        return fragments, ids[order], segments[order]

    def _leaves(self, box: Box) -> list[Vector]:
        """The leaves that touch `box` and hold fragments."""
        return self.job.plan.active_blocks(agglomerate_task(0), self.tree.grid(0).covering(box))

    def compute(self, block: Block, loaded: tuple[Ids, Ids, Ids]) -> Ids:
        """The segmentation uint64 (z, y, x) of the write region.

        Raises:
            DamageError: a fragment has no entry in the LUT.
        """
        fragments, ids, segments = loaded
        result, missing = relabel(fragments, ids, segments)
        if missing:
            raise DamageError(
                f"the LUT misses fragment {missing} of block {block.index}: run again with --redo agglomerate"
            )
        return result

    def store(self, block: Block, computed: Ids) -> Outcome:
        """Write the segmentation."""
        return outcome_of_array(computed, self.job.write_block("segmentation", block, computed))


STAGE = RelabelStage()
