"""The document that `fgnet plan` prints.

The fields, in their order, are the keys of `fgnet plan --json`. docs/guides/watch-a-job.md explains them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fgnet_pipeline.planning.disk import ArrayFootprint, TableFootprint
from fgnet_pipeline.planning.gpu_rates import GpuEstimate
from fgnet_pipeline.stages.density import Density
from fgnet_pipeline.stages.inputs_understood import InputUnderstood


@dataclass(frozen=True)
class StageEstimate:
    """The estimate for one task.

    Attributes:
        stage: name of the stage that the task belongs to.
        task: name of the task.
        blocks: number of blocks that touch the region of interest.
        active: number of these blocks that have work; without a mask, all of them.
        empty: number of these blocks without tissue. They are skipped.
        done: number of active blocks that are finished.
        left: number of active blocks that are not finished.
        block_shape: voxels, zyx.
        read_shape: voxels, zyx, that a block in the middle of the volume reads.
        memory_bytes: peak memory of one worker.
        memory_from: the source of `memory_bytes`: records, the trial or a formula.
        memory_limit_bytes: memory that one worker can have: that of this machine, or the amount that the configuration
            asks a cluster for. None if the default of the cluster applies.
        seconds_per_block: mean time of one worker. None if it is unknown.
        seconds_from: the source of `seconds_per_block`: records, the trial or a formula.
        worker_hours: time for the blocks that are left, summed over workers. None if it is unknown.
    """

    stage: str
    task: str
    blocks: int
    active: int
    empty: int
    done: int
    left: int
    block_shape: list[int]
    read_shape: list[int]
    memory_bytes: int
    memory_from: str
    memory_limit_bytes: int | None
    seconds_per_block: float | None
    seconds_from: str
    worker_hours: float | None


@dataclass(frozen=True)
class Region:
    """The region of interest.

    Attributes:
        voxels: `[begin, end]`, zyx.
        nm: `[begin, end]`, zyx.
        shape: voxels, zyx.
        sentence: the same in words.
    """

    voxels: list[list[int]]
    nm: list[list[float]]
    shape: list[int]
    sentence: str


@dataclass(frozen=True)
class Estimate:
    """The estimate for all tasks of a run.

    Attributes:
        stages: one entry per task, in the order of the data flow.
        arrays: one entry per array that the run writes.
        tables: one entry per task.
        disk_bytes: expected size of the finished output.
        disk_bytes_bound: the same, if arrays did not compress at all.
        disk_bytes_left: the part of `disk_bytes` that is not written yet.
        inodes: greatest number of files and folders of the finished output.
        inodes_left: the part of `inodes` that does not exist yet.
        free_disk_bytes: free space of the file system. None for an object store.
        free_inodes: free inodes of the file system. None for an object store, or if the file system reports none.
        ids: how close the blocks of fragments are to the limits of a fragment id.
        density: fragments and edges per million voxels that the formulas use.
        tiles: tiles that the blocks compute and tiles that are needed. None if no stage works by tiles.
        octree_levels: levels of the octree of agglomeration, leaf and root included.
        workers: `schedule.workers`.
        local: whether `schedule.backend` is `local`.
        worker_hours: sum over all tasks. None if the time of a task is unknown.
        wall_hours: `worker_hours` divided by the number of workers. None if `worker_hours` is.
        warnings: sentences about what may go wrong.
        inputs: what was understood of each input array.
        region: the region of interest.
        settings: one clause per value of `[fragments]` and `[agglomerate]` that the configuration leaves open, with the
            place where it comes from.
        gpu: hours, energy and cost of the affinities on the model of GPU that the user named. None without one.
    """

    stages: list[StageEstimate]
    arrays: list[ArrayFootprint]
    tables: list[TableFootprint]
    disk_bytes: int
    disk_bytes_bound: int
    disk_bytes_left: int
    inodes: int
    inodes_left: int
    free_disk_bytes: int | None
    free_inodes: int | None
    ids: dict[str, Any]
    density: Density
    tiles: dict[str, Any] | None
    octree_levels: int
    workers: int
    local: bool
    worker_hours: float | None
    wall_hours: float | None
    warnings: list[str]
    inputs: list[InputUnderstood]
    region: Region
    settings: list[str]
    gpu: GpuEstimate | None = None

    def to_dict(self) -> dict[str, Any]:
        """The document for JSON."""
        return asdict(self)
