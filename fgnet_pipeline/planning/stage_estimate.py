"""The estimate for one task: its blocks, memory, time and array.

Each number comes from the best source that exists: the records of this output, else a trial block, else a formula. If
the user names a model of GPU, the time of the network comes from its measured rate.
docs/scale.md lists the assumptions of the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fgnet_pipeline.core.task import Task
from fgnet_pipeline.planning.block_counts import Counts
from fgnet_pipeline.planning.disk import ArrayFootprint, array_footprint, measured_compression
from fgnet_pipeline.planning.document import StageEstimate
from fgnet_pipeline.planning.gpu_rates import GpuRate
from fgnet_pipeline.planning.memory import memory_limit
from fgnet_pipeline.planning.trial_block import Measured, Trial
from fgnet_pipeline.stages.density import Density, read_shape
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of

#: The source of a time that no record, trial or formula gives.
UNKNOWN = "unknown: --trial measures it"


@dataclass(frozen=True)
class Evidence:
    """Facts about a job before it runs.

    Attributes:
        job: with its plan.
        counts: task -> numbers of blocks, and totals of its records.
        trial: measurements of one block per stage. None if no trial was run.
        density: fragments and edges per million voxels: recorded, measured or assumed.
        tiles: task -> its tiles (see `Stage.tiles`), of the tasks that work by tiles.
        gpu: the rate of the network on a model of GPU, if the user named one. It counts more than a trial, which may
            have run on a machine without a GPU.
    """

    job: Job
    counts: dict[str, Counts]
    trial: Trial | None
    density: Density
    tiles: dict[str, dict[str, Any]]
    gpu: GpuRate | None = None

    def measured(self, task: Task) -> Measured | None:
        """The trial block of `task`; None if there is none."""
        return self.trial.tasks.get(task.name) if self.trial else None


def estimate_stage(known: Evidence, task: Task) -> StageEstimate:
    """Estimate blocks, memory and time of `task`."""
    counts = known.counts[task.name]
    memory, memory_from = _memory(known, task)
    seconds, seconds_from = _seconds(known, task)
    left = counts.active - counts.done
    return StageEstimate(
        stage=task.stage,
        task=task.name,
        blocks=counts.blocks,
        active=counts.active,
        empty=counts.blocks - counts.active,
        done=counts.done,
        left=left,
        block_shape=list(task.grid.block_shape),
        read_shape=list(read_shape(task)),
        memory_bytes=memory,
        memory_from=memory_from,
        memory_limit_bytes=memory_limit(known.job.config, task),
        seconds_per_block=seconds,
        seconds_from=seconds_from,
        worker_hours=0.0 if left == 0 else None if seconds is None else left * seconds / 3600,
    )


def _memory(known: Evidence, task: Task) -> tuple[int, str]:
    """Peak memory of a worker in bytes, and its source."""
    recorded = known.counts[task.name].totals.peak_memory
    if recorded:
        return recorded, "records"
    if measured := known.measured(task):
        return measured.memory, "trial"
    job, stage = known.job, stage_of(task)
    channels = len(job.neighbourhood) if job.affinities is None else job.affinities.channels
    without = ", without what the network needs" if task.name in known.tiles else ""
    return stage.memory(job, task, known.density, channels), "formula" + without


def _seconds(known: Evidence, task: Task) -> tuple[float | None, str]:
    """Seconds of a worker per block, and their source."""
    if known.gpu and task.name in known.tiles:
        seconds = known.gpu.seconds(known.tiles[task.name]) / max(1, known.counts[task.name].active)
        return seconds, f"rate of one {known.gpu.gpu}"
    recorded = known.counts[task.name].totals.seconds_per_block
    if recorded is not None:
        return recorded, "records"
    if measured := known.measured(task):
        return measured.seconds, "trial"
    formula = stage_of(task).seconds(known.job, task, known.density)
    return (None, UNKNOWN) if formula is None else (formula, "formula")


def estimate_array(known: Evidence, task: Task) -> ArrayFootprint | None:
    """Estimate the array that `task` writes; None if the task writes only tables."""
    counts = known.counts[task.name]
    compressed, source = measured_compression(known.job, task, counts.some_done), "stored blocks"
    if compressed is None and (measured := known.measured(task)):
        compressed, source = measured.compressed, "trial"
    return array_footprint(known.job, task, counts.active, compressed, source)
