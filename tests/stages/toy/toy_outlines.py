"""A stage from outside the package: outlines of the segmentation, and how many outline voxels each segment has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Grid
from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.stages.stage import ArrayOutput, Contradiction, Stage, TableOutput
from fgnet_pipeline.store.arrays import storage_shapes
from fgnet_pipeline.store.tables import Columns


class OutlinesStage(Stage):
    """Segmentation -> outlines: 1 where a face of the voxel touches another segment."""

    name = "outlines"
    summary = "Outlines of segments."
    after = ("relabel",)
    array = ArrayOutput("outlines", "uint8")
    tables = (TableOutput("outlines", {"segment": "uint64", "voxels": "int64"}, redo="outlines"),)
    reads: ClassVar[Mapping[str, str]] = {"relabel": "array"}

    def plan(self, job: Job) -> list[Task]:
        """One task; a block reads one voxel around it."""
        block, output = job.config.schedule.block_shape_of(self.name), job.config.output
        shard, chunk = storage_shapes(block, output.shard_shape, output.chunk_shape, self.name)
        fingerprint = {"format": self.format_version, "shard_shape": list(shard), "chunk_shape": list(chunk)}
        return [
            Task(self.name, self.name, Grid(block), (1, 1, 1), (1, 1, 1), job.roi, ("relabel",), fingerprint)
        ]  # fmt: skip

    def open(self, job: Job, task: Task, worker: int) -> Outlines:
        """What draws the outlines of blocks."""
        return Outlines(job)

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """The table counts the voxels of the array."""
        counted, drawn = int(tables["outlines"]["voxels"].sum()), int(np.count_nonzero(voxels))
        reason = f"it counts {counted} voxels, and {drawn} are drawn" if counted != drawn else None
        return Contradiction.if_any(reason, "outlines")


class Outlines:
    """Blocks of the stage in one worker."""

    def __init__(self, job: Job) -> None:
        self.job, self.tables = job, job.output.tables("outlines", "outlines")

    def load(self, block: Block) -> npt.NDArray[np.uint64]:
        """The segmentation of the read region."""
        return np.asarray(self.job.output_array("segmentation").read(block.read))

    def compute(self, block: Block, loaded: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint8], Columns]:
        """(outlines of the write region, the columns of its table)."""
        drawn = np.zeros(loaded.shape, np.uint8)
        for axis in range(3):
            behind, before = [slice(None)] * 3, [slice(None)] * 3
            behind[axis], before[axis] = slice(1, None), slice(None, -1)
            differs = loaded[tuple(before)] != loaded[tuple(behind)]
            drawn[tuple(before)] |= differs
            drawn[tuple(behind)] |= differs
        inner = block.write.slices(block.read.begin)
        segments, counts = np.unique(loaded[inner][drawn[inner] > 0], return_counts=True)
        return np.ascontiguousarray(drawn[inner]), {"segment": segments, "voxels": counts.astype(np.int64)}

    def store(self, block: Block, computed: tuple[npt.NDArray[np.uint8], Columns]) -> Outcome:
        """Write the outlines and the table."""
        drawn, columns = computed
        files = self.job.write_block("outlines", block, drawn)
        files.append(self.tables.write(block.index, columns, block.key))
        return outcome_of_array(drawn, files)


STAGE = OutlinesStage()
