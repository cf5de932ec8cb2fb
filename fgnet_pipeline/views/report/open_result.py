"""Opens an output for a report, whatever state it is in: by the plan, or by its records if inputs are gone."""

from __future__ import annotations

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError, PipelineError, StaleError
from fgnet_pipeline.core.geometry import Box, Grid, vector
from fgnet_pipeline.execution.resume import check_fresh, compare, failed_blocks
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import array_names, plan_job, stage_names
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.volume import Frame, Volume, frame_of, open_volume
from fgnet_pipeline.views.report.result import Result, TaskState

#: Keys of the configuration that name inputs. If one of them cannot be opened, the output can still be described.
INPUTS = ("volume.path", "volume.mask", "affinities.path", "fragments.path", "model.checkpoint")


def open_result(config: Config) -> Result:
    """Open an output, whatever state it is in.

    Raises:
        InputError: the place holds something else, no run has begun, or the configuration is not that of the output.
    """
    use_threads(config.schedule.threads)
    output = Output(config.output.path, config.output.state)
    output.check(array_names())
    begun = list(output.progress.root.glob("*/fingerprint.json"))
    if not begun:
        expected = "an output that `fgnet run` has begun"
        raise InputError("output.path", config.output.path, expected, "run fgnet run with this configuration first")
    try:
        job = open_job(config, only_reads=True)
        plan_job(job)
        check_fresh(job, list(job.plan.tasks), None)
    except StaleError:
        raise
    except InputError as error:
        if error.field not in INPUTS:
            raise
        return _without_inputs(config, output, str(error))
    except PipelineError as error:
        return _without_inputs(config, output, str(error))
    result = Result(job.config, output, job, job.frame, job.bounds, job.roi, raw=job.raw)
    for name in job.plan.tasks:
        result.tasks[name] = _planned(job, name)
    return result


def _planned(job: Job, name: str) -> TaskState:
    task, blocks = job.plan.tasks[name], job.plan.blocks(name)
    latest = job.output.progress.latest(name, blocks)
    state = compare(job, name, latest)
    keys = np.where(state.done, latest.key, np.uint64(0))
    failed, stale = len(failed_blocks(job, name, state.todo)), int((state.stale & state.active).sum())
    return TaskState(name, task.stage, task.grid, blocks, keys, latest.nonzero, int(state.active.sum()), stale, failed,
                     latest.totals)  # fmt: skip


def _without_inputs(config: Config, output: Output, reason: str) -> Result:
    """The result as its records have it."""
    note = f"An input cannot be opened, so nobody has checked whether results fit the configuration: {reason}"
    frame, bounds = _place(output)
    roi = (output.saved_region() or bounds).intersect(bounds)
    result = Result(config, output, None, frame, bounds, roi, notes=[note], raw=_raw(config))
    for name in _recorded(output):
        grid = _grid(output, name)
        if grid is not None and roi:
            blocks = grid.covering(roi)
            latest = output.progress.latest(name, blocks)
            stage = name.partition("-")[0]
            result.tasks[name] = TaskState(name, stage, grid, blocks, latest.key, latest.nonzero, None, 0, 0,
                                           latest.totals)  # fmt: skip
    return result


def _recorded(output: Output) -> list[str]:
    """Tasks that have begun, in the order of the data flow."""
    names = [path.parent.name for path in output.progress.root.glob("*/fingerprint.json")]
    order = stage_names()
    known = [name for name in names if name.partition("-")[0] in order]
    return sorted(known, key=lambda name: (order.index(name.partition("-")[0]), int(name.partition("-")[2] or 0)))


def _grid(output: Output, name: str) -> Grid | None:
    """The grid of a task that has begun."""
    _, _, level = name.partition("-")
    of_voxels = not level
    made = output.progress.fingerprint(name if of_voxels else "agglomerate-0") or {}
    shape = made.get("block_shape" if of_voxels else "leaf")
    return None if shape is None else Grid(vector(np.multiply(shape, 1 if of_voxels else 1 << int(level))))


def _place(output: Output) -> tuple[Frame | None, Box]:
    """Frame and bounds, of the first array of the output that can be opened."""
    for name in array_names():
        try:
            array = output.array(name)
        except PipelineError:
            continue
        order = (1, 2, 3) if array.channels else (0, 1, 2)
        try:
            return frame_of(array.array, f"{output.path}/{name}", order, None, None), array.bounds
        except InputError:
            return None, array.bounds
    return None, Box((0, 0, 0), (0, 0, 0))


def _raw(config: Config) -> Volume | None:
    given = config.volume
    if given.path is None:
        return None
    try:
        return open_volume(given.path, voxel_size=given.voxel_size, offset=given.offset, axes=given.axes)
    except PipelineError:
        return None
