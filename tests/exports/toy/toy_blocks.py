"""An export format from outside the package: one file of numpy per block of the segmentation."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Grid
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.id_tables import id_tables, write_id_tables
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.numbering import STAGES, count_task
from fgnet_pipeline.exports.written_ids import WrittenIds, id_dtype
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
        self.written = WrittenIds(job, "segments")
        self.dtype = id_dtype(job, job.options.compact_ids)

    def load(self, block: Block) -> npt.NDArray[np.uint64]:
        """The segmentation of the write region."""
        return self.job.source.output_array("segmentation").read(block.write)

    def compute(self, block: Block, loaded: npt.NDArray[np.uint64]) -> npt.NDArray[np.unsignedinteger]:
        """The ids as they are saved."""
        return self.written.of(loaded).astype(self.dtype)

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

    def paths(self, job: ExportJob) -> list[Path]:
        """The folder, and the table of ids."""
        return [job.target, *id_tables(job, ["segments"]).values()]

    def begin(self, job: ExportJob) -> None:
        """Make the folder."""
        job.target.mkdir(parents=True, exist_ok=True)

    def finish(self, job: ExportJob) -> list[str]:
        """Write the table of ids, if they are compact."""
        return write_id_tables(job, ["segments"])


FORMAT = BlocksFormat()
