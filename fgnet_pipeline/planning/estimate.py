"""Estimates of the blocks, memory, disk and hours of a run, before it starts.

A configuration that cannot work is refused. The output is only read, never written. `stage_estimate` names the sources
of the numbers.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import BLOCK_BITS, MAX_BLOCKS_PER_AXIS, MAX_FRAGMENTS_PER_BLOCK, NUMBER_BITS
from fgnet_pipeline.execution.last_run import changed_values, origins_of
from fgnet_pipeline.execution.region import check_region, region_nm, region_sentence
from fgnet_pipeline.execution.resume import check_fresh
from fgnet_pipeline.planning.block_counts import Counts, count_blocks, middle_voxel
from fgnet_pipeline.planning.disk import free_space, table_footprint
from fgnet_pipeline.planning.document import Estimate, Region, StageEstimate
from fgnet_pipeline.planning.gpu_rates import GpuEstimate, GpuRate, estimate_gpus, gpu_rate
from fgnet_pipeline.planning.memory import refuse_large_blocks
from fgnet_pipeline.planning.plan_warnings import warnings_of
from fgnet_pipeline.planning.stage_estimate import Evidence, estimate_array, estimate_stage
from fgnet_pipeline.planning.trial_block import Trial, density_of, run_trial
from fgnet_pipeline.stages.density import Density
from fgnet_pipeline.stages.inputs_understood import inputs_understood
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.registry import plan_job, stage_of
from fgnet_pipeline.store.arrays import use_threads


def estimate(
    config: Config,
    trial: bool = False,
    small_region: bool = True,
    gpu: str | None = None,
    gpu_price: float | None = None,
) -> Estimate:
    """Estimate what a run of `config` needs.

    Args:
        config: of the run.
        trial: compute one block of every stage in a temporary folder, and measure it.
        small_region: whether a region of interest that is shorter than the model's context is accepted.
        gpu: model of GPU that will predict the affinities; their time is then that of its measured rate.
        gpu_price: of an hour of one GPU, in any currency.

    Raises:
        InputError: the run cannot work: shapes that do not divide each other, ids that do not fit, a volume that does
            not fit the model, a block that needs more memory than a worker has; or no rate of this network on this
            model of GPU is known.
        StaleError: the output holds results of another configuration.
    """
    use_threads(config.schedule.threads)
    job = open_job(config)
    plan_job(job)
    check_region(job, small_region)
    check_fresh(job, list(job.plan.tasks), None)
    tiles = {task.name: t for task in job.plan.tasks.values() if (t := stage_of(task).tiles(job)) is not None}
    rate = _rate(job, tiles, gpu, gpu_price)
    counts = count_blocks(job)
    measured = run_trial(job, middle_voxel(job)) if trial else None
    found = _estimate(Evidence(job, counts, measured, _density(counts, measured), tiles, rate), gpu_price)
    refuse_large_blocks(job.config, found)
    found.warnings.extend(warnings_of(found))
    if changed := changed_values(job):
        found.warnings.append(f"this configuration differs from the latest run of this output: {'; '.join(changed)}")
    return found


def _density(counts: dict[str, Counts], trial: Trial | None) -> Density:
    """The density of fragments and edges: recorded, else measured by the trial, else assumed."""
    totals = {name: count.totals for name, count in counts.items()}
    return density_of(totals, "records of this output") or (trial.density if trial else None) or Density()


def _rate(job: Job, tiles: dict[str, Any], gpu: str | None, price: float | None) -> GpuRate | None:
    """The rate of the network on the model of GPU that the user named; None without one."""
    if gpu is None:
        if price is not None:
            raise InputError("--gpu-price", price, "a model of GPU, too", "add --gpu, e.g. --gpu H200")
        return None
    if price is not None and not 0 <= price < float("inf"):
        raise InputError("--gpu-price", price, "a price of at least 0", "give the price of an hour of one GPU")
    if not tiles:
        expected = "a run that predicts affinities by a network that this machine has"
        raise InputError("--gpu", gpu, expected, "leave --gpu out, or set model.checkpoint and volume.path")
    architecture = next(iter(tiles.values()))["architecture"]
    return gpu_rate(gpu, architecture, job.config.model.mode)


def _estimate(known: Evidence, gpu_price: float | None) -> Estimate:
    """The estimate without warnings."""
    job, tasks = known.job, known.job.plan.tasks.values()
    stages = [estimate_stage(known, task) for task in tasks]
    arrays = {task.name: a for task in tasks if (a := estimate_array(known, task)) is not None}
    tables = {t.name: table_footprint(job, t, known.counts[t.name].active, known.density) for t in tasks}
    size = {n: tables[n].bytes + (arrays[n].bytes if n in arrays else 0) for n in tables}
    inodes = {n: tables[n].inodes + (arrays[n].inodes if n in arrays else 0) for n in tables}
    left = {s.task: s.left / s.active if s.active else 0.0 for s in stages}
    free, free_inodes = (None, None) if is_url(job.output.path) else free_space(job.output.root)
    hours = _worker_hours(stages)
    return Estimate(
        stages=stages,
        arrays=list(arrays.values()),
        tables=list(tables.values()),
        disk_bytes=sum(size.values()),
        disk_bytes_bound=sum(a.bytes_bound for a in arrays.values()) + sum(t.bytes for t in tables.values()),
        disk_bytes_left=round(sum(size[n] * left[n] for n in size)),
        inodes=sum(inodes.values()),
        inodes_left=round(sum(inodes[n] * left[n] for n in size)),
        free_disk_bytes=free,
        free_inodes=free_inodes,
        ids=_id_limits(job),
        density=known.density,
        tiles=next(iter(known.tiles.values()), None),
        octree_levels=octree_of(job).levels,
        workers=job.config.schedule.workers,
        local=job.config.schedule.is_local,
        worker_hours=hours,
        wall_hours=None if hours is None else hours / max(1, job.config.schedule.workers),
        warnings=[],
        inputs=inputs_understood(job),
        region=Region(job.roi.to_list(), region_nm(job), list(job.roi.shape), region_sentence(job)),
        settings=origins_of(job),
        gpu=_gpus(known, stages, gpu_price),
    )


def _gpus(known: Evidence, stages: list[StageEstimate], price: float | None) -> GpuEstimate | None:
    """What the blocks that are left take on the named model of GPU; None without one."""
    if known.gpu is None:
        return None
    hours = {s.stage: s.worker_hours or 0.0 for s in stages if s.task in known.tiles}
    workers = max((known.job.config.schedule.workers_of(stage) for stage in hours), default=1)
    return estimate_gpus(known.gpu, 3600 * sum(hours.values()), workers, price)


def _worker_hours(stages: list[StageEstimate]) -> float | None:
    """The sum over all tasks; None if the time of a task is unknown."""
    hours = [stage.worker_hours for stage in stages]
    known = [h for h in hours if h is not None]
    return sum(known) if len(known) == len(hours) else None


def _id_limits(job: Job) -> dict[str, Any]:
    """How close the blocks of fragments are to the limits of a fragment id.

    `packed` is false for a lab's own fragments. Their ids do not encode a block; they only have to be below 2^63.
    """
    block = job.config.schedule.block_shape_of("fragments")
    blocks = (-np.floor_divide(np.negative(job.bounds.shape), block)).tolist()
    return {
        "packed": job.fragments is None,
        "blocks_per_axis": blocks,
        "max_blocks_per_axis": MAX_BLOCKS_PER_AXIS,
        "bits_per_axis": BLOCK_BITS,
        "voxels_per_block": prod(block),
        "max_fragments_per_block": MAX_FRAGMENTS_PER_BLOCK,
        "bits_in_block": NUMBER_BITS,
    }
