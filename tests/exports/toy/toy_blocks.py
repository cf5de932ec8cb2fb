"""An export format from outside the package: one file of numpy per block of the segmentation."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Grid
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.numbering import STAGES, Numbering, count_task, id_dtype
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.stages.stage import Stage
from fgnet_pipeline.store.atomic_files import write_atomic


class SaveBlocks(Stage):
    """The segmentation, block by block."""

    name = "save-blocks"
    summary = "One file per block."
    scheduled_as = "relabel"

    def plan(self, job: Job) -> list[Task]:
        """One task over the blocks of the segmentation."""
        grid = Grid(job.config.schedule.block_shape_of("relabel"))
        compact = exported(job).options.compact_ids
        upstream = ("relabel", count_task("segments")) if compact else ("relabel",)
        fingerprint = {"format": 1, "compact": compact}
        return [Task(self.name, self.name, grid, NO_CONTEXT, NO_CONTEXT, job.roi, upstream, fingerprint)]

    def open(self, job: Job, task: Task, worker: int) -> SavedBlocks:
        """What saves blocks."""
        return SavedBlocks(exported(job))


class SavedBlocks:
    """Blocks of the stage in one worker."""

    def __init__(self, job: ExportJob) -> None:
        self.job = job
        self.numbering = Numbering(job, "segments") if job.options.compact_ids else None
        self.dtype = id_dtype(job, job.options.compact_ids)

    def load(self, block: Block) -> npt.NDArray[np.uint64]:
        """The segmentation of the write region."""
        return self.job.source.output_array("segmentation").read(block.write)

    def compute(self, block: Block, loaded: npt.NDArray[np.uint64]) -> npt.NDArray[np.unsignedinteger]:
        """The ids as they are saved."""
        ids = loaded if self.numbering is None else self.numbering.compact(loaded)
        return ids.astype(self.dtype)

    def store(self, block: Block, computed: npt.NDArray[np.unsignedinteger]) -> Outcome:
        """Save the block under the voxel at which it begins."""
        path = self.job.target / ("-".join(map(str, block.write.begin)) + ".npy")
        data = io.BytesIO()
        np.save(data, computed)
        write_atomic(path, data.getvalue())
        return outcome_of_array(computed, [path])


class BlocksFormat(Format):
    """A folder of .npy files."""

    name = "blocks"
    summary = "One .npy file per block of the segmentation."
    options = ("compact_ids",)
    stages = (*STAGES["segments"], SaveBlocks())

    def plan(self, job: ExportJob) -> list[Task]:
        """The blocks, and the numbering if ids are compact."""
        chosen = self.stages if job.options.compact_ids else self.stages[-1:]
        return [task for stage in chosen for task in stage.plan(job)]

    def begin(self, job: ExportJob) -> None:
        """Make the folder."""
        job.target.mkdir(parents=True, exist_ok=True)

    def finish(self, job: ExportJob) -> list[str]:
        """Write the table of ids."""
        if not job.options.compact_ids:
            return []
        table = job.target.with_name(job.target.name + ".ids.parquet")
        Numbering(job, "segments").write_table(table)
        return [f"stored and compact ids: {table}"]


FORMAT = BlocksFormat()
