"""What a run will take, before anything runs: blocks, memory, disk, hours, and whether it can work at all.

Nothing is written to the output. Numbers come from records of this output where there are any, else from a trial block,
else from formulas; each says which.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import BLOCK_BITS, MAX_BLOCKS_PER_AXIS, MAX_FRAGMENTS_PER_BLOCK, NUMBER_BITS
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.execution.resume import check_fresh
from fgnet_pipeline.planning.block_counts import Counts, count_blocks, middle_voxel
from fgnet_pipeline.planning.disk import (
    ArrayFootprint,
    TableFootprint,
    array_footprint,
    free_space,
    measured_compression,
    table_footprint,
)
from fgnet_pipeline.planning.trial_block import Trial, density_of, run_trial
from fgnet_pipeline.stages.density import Density, read_shape
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.registry import plan_job, stage_of, stages
from fgnet_pipeline.store.arrays import use_threads

#: Hours of wall time, share of tiles computed twice, and inodes from which on a warning is due.
LONG_HOURS, MANY_TILES, MANY_INODES = 7 * 24, 0.05, 10**7
UNKNOWN = "unknown: --trial measures it"


@dataclass(frozen=True)
class StageEstimate:
    """One task. ``worker_hours``: for the blocks left. ``*_from``: where a number comes from.

    Attributes:
        blocks: of the grid that touch the region of interest; ``active`` have tissue, ``empty`` have none.
        read_shape: voxels that a block in the middle of the volume reads.
        memory_limit_bytes: of this machine, or what a cluster is asked for; None where that is the cluster's default.
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
class Estimate:
    """Everything; ``disk_bytes`` and ``inodes`` when all is done, ``disk_bytes_left`` what is still to be written."""

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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(config: Config, trial: bool = False) -> Estimate:
    """Plan ``config``; with ``trial`` one block of every stage is computed in a temporary folder.

    Raises:
        InputError: what cannot work: alignment, ids, geometry, stale results, the memory of one block.
    """
    use_threads(config.schedule.threads)
    job = open_job(config)
    plan_job(job)
    check_fresh(job, list(job.plan.tasks), None)
    counts = count_blocks(job)
    tried = run_trial(job, middle_voxel(job)) if trial else None
    return _Estimator(job, counts, tried).estimate()


class _Estimator:
    """Puts one estimate together."""

    def __init__(self, job: Job, counts: dict[str, Counts], trial: Trial | None) -> None:
        self.job, self.counts, self.trial = job, counts, trial
        totals = {name: c.totals for name, c in counts.items()}
        self.density = (
            density_of(totals, "records of this output") or (trial.density if trial else None) or Density()
        )  # fmt: skip
        self.channels = self._channels()

    def _channels(self) -> int:
        given = self.job.affinities
        return len(self.job.neighbourhood) if given is None else given.channels

    def estimate(self) -> Estimate:
        job, tasks = self.job, self.job.plan.tasks.values()
        stages = [self._stage(task) for task in tasks]
        arrays = {task.name: a for task in tasks if (a := self._array(task)) is not None}
        tables = {t.name: table_footprint(job, t, self.counts[t.name].active, self.density) for t in tasks}
        size, inodes = (
            {n: getattr(tables[n], what) + (getattr(arrays[n], what) if n in arrays else 0) for n in tables}
            for what in ("bytes", "inodes")
        )
        shares = {s.task: s.left / s.active if s.active else 0.0 for s in stages}
        free, free_inodes = (None, None) if is_url(job.output.path) else free_space(job.output.root)
        hours = [s.worker_hours for s in stages]
        known = [h for h in hours if h is not None]
        total = sum(known) if len(known) == len(hours) else None
        workers = max(1, job.config.schedule.workers)
        found = Estimate(
            stages=stages,
            arrays=list(arrays.values()),
            tables=list(tables.values()),
            disk_bytes=sum(size.values()),
            disk_bytes_bound=sum(a.bytes_bound for a in arrays.values()) + sum(t.bytes for t in tables.values()),
            disk_bytes_left=round(sum(size[n] * shares[n] for n in size)),
            inodes=sum(inodes.values()),
            inodes_left=round(sum(inodes[n] * shares[n] for n in size)),
            free_disk_bytes=free,
            free_inodes=free_inodes,
            ids=self._ids(),
            density=self.density,
            tiles=self._tiles(),
            octree_levels=octree_of(job).levels,
            workers=job.config.schedule.workers,
            local=job.config.schedule.backend == "local",
            worker_hours=total,
            wall_hours=None if total is None else total / workers,
            warnings=[],
        )
        self._refuse(found)
        found.warnings.extend(warnings_of(found))
        return found

    def _stage(self, task: Task) -> StageEstimate:
        counts = self.counts[task.name]
        memory, memory_from = self._memory(task)
        seconds, seconds_from = self._seconds(task)
        left = counts.active - counts.done
        hours = 0.0 if left == 0 else None if seconds is None else left * seconds / 3600
        return StageEstimate(
            task.stage, task.name, counts.blocks, counts.active, counts.blocks - counts.active, counts.done, left,
            list(task.grid.block_shape), list(read_shape(task)), memory, memory_from,
            memory_limit(self.job.config, task), seconds, seconds_from, hours,
        )  # fmt: skip

    def _memory(self, task: Task) -> tuple[int, str]:
        recorded = self.counts[task.name].totals.peak_memory
        if recorded:
            return recorded, "records"
        if self.trial and task.name in self.trial.tasks:
            return self.trial.tasks[task.name].memory, "trial"
        stage = stage_of(task)
        without = ", without what the network needs" if stage.tiles(self.job) is not None else ""
        return stage.memory(self.job, task, self.density, self.channels), "formula" + without

    def _seconds(self, task: Task) -> tuple[float | None, str]:
        recorded = self.counts[task.name].totals.seconds_per_block
        if recorded is not None:
            return recorded, "records"
        if self.trial and task.name in self.trial.tasks:
            return self.trial.tasks[task.name].seconds, "trial"
        seconds = stage_of(task).seconds(self.job, task, self.density)
        return (None, UNKNOWN) if seconds is None else (seconds, "formula")

    def _array(self, task: Task) -> ArrayFootprint | None:
        counts = self.counts[task.name]
        found, source = measured_compression(self.job, task, counts.some_done), "stored blocks"
        if found is None and self.trial and task.name in self.trial.tasks:
            found, source = self.trial.tasks[task.name].compressed, "trial"
        return array_footprint(self.job, task, counts.active, found, source)

    def _ids(self) -> dict[str, Any]:
        """How far the fragments stage is from the bounds of a packed id; a lab's own ids are only below 2^63."""
        block = self.job.config.schedule.block_shape_of("fragments")
        blocks = (-np.floor_divide(np.negative(self.job.bounds.shape), block)).tolist()
        return {
            "packed": self.job.fragments is None,
            "blocks_per_axis": blocks,
            "max_blocks_per_axis": MAX_BLOCKS_PER_AXIS,
            "bits_per_axis": BLOCK_BITS,
            "voxels_per_block": prod(block),
            "max_fragments_per_block": MAX_FRAGMENTS_PER_BLOCK,
            "bits_in_block": NUMBER_BITS,
        }

    def _tiles(self) -> dict[str, Any] | None:
        found = (stage_of(task).tiles(self.job) for task in self.job.plan.tasks.values())
        return next((tiles for tiles in found if tiles is not None), None)

    def _refuse(self, found: Estimate) -> None:
        """The memory of one block must fit; an octree node's is known only once fragments have been counted."""
        for stage in found.stages:
            described = stages()[stage.stage]
            known = described.by_voxel or self.density.source != Density.source
            if known and stage.left and lacks_memory(stage):
                key, octree = described.schedule, not described.by_voxel
                raise InputError(
                    "agglomerate.leaf_blocks" if octree else f"schedule.{key}.block_shape",
                    self.job.config.agglomerate.leaf_blocks if octree else stage.block_shape,
                    f"blocks of {stage.task} that a worker can hold: one needs {readable(stage.memory_bytes)} "
                    f"({stage.memory_from}), {self._has(stage)}",
                    "use smaller leaves, or a machine with more memory" if octree else "use smaller blocks",
                )

    def _has(self, stage: StageEstimate) -> str:
        limit = readable(stage.memory_limit_bytes or 0)
        if self.job.config.schedule.is_local:
            return f"this machine has {limit}"
        from fgnet_pipeline.execution.cluster.lookup import cluster_of

        return f"{cluster_of(self.job.config).memory_key} is {limit}"


def lacks_memory(stage: StageEstimate) -> bool:
    """Whether one block needs more than a worker can have."""
    return stage.memory_limit_bytes is not None and stage.memory_bytes > stage.memory_limit_bytes


def memory_limit(config: Config, task: Task) -> int | None:
    """Bytes that one worker of ``task`` can have; None where the cluster's default holds."""
    if config.schedule.is_local:
        return machine_memory()
    from fgnet_pipeline.execution.cluster.lookup import cluster_of

    return cluster_of(config).memory_limit(stage_of(task).schedule)


def warnings_of(found: Estimate) -> list[str]:
    """Sentences on what may go wrong, but need not."""
    said = []
    if found.free_disk_bytes is not None and found.disk_bytes_left > found.free_disk_bytes:
        free, needed = readable(found.free_disk_bytes), readable(found.disk_bytes_left)
        said.append(f"the disk has {free} free, about {needed} are to be written")
    if found.free_inodes is not None and found.inodes_left > found.free_inodes:
        said.append(f"the file system has {found.free_inodes} inodes free, up to {found.inodes_left} are needed")
    elif found.inodes > MANY_INODES:
        said.append(f"up to {found.inodes} files and folders: see that your quota allows them, or use larger blocks")
    if found.wall_hours is not None and found.wall_hours > LONG_HOURS:
        said.append(f"{found.wall_hours:.0f} hours with {found.workers} workers: more workers or nodes make it shorter")
    said += _memory_warnings(found)
    if found.tiles and found.tiles["computed"] > (1 + MANY_TILES) * found.tiles["needed"]:
        more = found.tiles["computed"] / found.tiles["needed"] - 1
        said.append(f"blocks compute {more:.0%} more tiles than there are: with a larger schedule.predict.block_shape "
                    f"of whole multiples of {found.tiles['stride']} it is less")  # fmt: skip
    return said


def _memory_warnings(found: Estimate) -> list[str]:
    said = []
    large = [s for s in found.stages if s.left and lacks_memory(s)]
    if large:
        largest = max(large, key=lambda s: s.memory_bytes)
        said.append(f"{largest.task} needs about {readable(largest.memory_bytes)} ({largest.memory_from}), "
                    f"a worker has {readable(largest.memory_limit_bytes or 0)}: it needs a larger node")  # fmt: skip
    if not found.local:
        return said
    limit = machine_memory()
    together = {s.task: s.memory_bytes * min(max(1, found.workers), s.left) for s in found.stages if s not in large}
    task = max(together, key=lambda name: together[name], default=None)
    if task is not None and together[task] > limit:
        said.append(f"{found.workers} workers at {task} may need {readable(together[task])}, this machine has "
                    f"{readable(limit)}: lower schedule.workers or schedule.STAGE.workers")  # fmt: skip
    return said


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the control group that this process is confined to."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(installed, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such group, or "max"
        return installed


def readable(size: float) -> str:
    """Bytes for people."""
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size / 1024:.1f} TiB"
