"""Running a configuration: check everything, compute what is not done, and say truthfully how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.durations import duration
from fgnet_pipeline.execution.driver import (
    PREDICT,
    Passes,
    checked,
    driving,
    open_planned,
    tasks_of,
)
from fgnet_pipeline.execution.last_run import announcement
from fgnet_pipeline.execution.processes.fork_server import compiles
from fgnet_pipeline.execution.processes.loaded_modules import modules_of
from fgnet_pipeline.execution.region import is_empty
from fgnet_pipeline.execution.resume import finish
from fgnet_pipeline.execution.submitted_elsewhere import refuse_while_submitted
from fgnet_pipeline.execution.work import Observer, Work
from fgnet_pipeline.stages.inputs_understood import inputs_understood
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of

__all__ = ["PREDICT", "open_planned", "run", "tasks_of"]


def run(
    config: Config,
    stages: tuple[str, ...] | None = None,
    redo: str | None = None,
    observer: Observer | None = None,
    report: Callable[[str], None] = lambda _: None,
    small_region: bool = True,
) -> Job:
    """Compute every block of `stages` that is not done.

    Args:
        config: a validated configuration; its `schedule.backend` says where the workers run.
        stages: names of stages; None: all.
        redo: replace the results of this stage and of all after it.
        observer: told of progress.
        report: told in sentences.
        small_region: whether a region of interest that is shorter than the model's context is accepted.

    Returns:
        The job, whose output is complete.

    Raises:
        InputError: Bad input; nothing has been written.
        BlocksFailedError: Some blocks failed; all others are done.
    """
    started, schedule = time.time(), config.schedule
    job, names = checked(config, stages, redo, schedule.is_local, small_region)
    # Told after all checks, so that a refusal stands alone.
    sentences = opening(job)
    if not schedule.is_local:
        from fgnet_pipeline.execution.cluster import submit

        submit.check(job, names, redo)
        report("\n".join(sentences))
    if schedule.is_local or schedule.takes_blocks_from_driver:
        refuse_while_submitted(job)
        with driving(job, names, redo):
            if schedule.is_local:
                report("\n".join(sentences))
            _make_passes(job, names, observer, report)
    else:
        submit.submit_and_wait(job, names, redo, report)
    if observer is not None:
        observer.finish()
    _say_end(job, names, time.time() - started, report)
    return job


def opening(job: Job) -> list[str]:
    """The lines with which a run begins: what was understood of each input, its region, and its values."""
    return [*map(str, inputs_understood(job)), *announcement(job)]


def _say_end(job: Job, names: list[str], seconds: float, report: Callable[[str], None]) -> None:
    if is_empty(job, names):
        report("warning: the segmentation holds no segment: every voxel of the region is background")
    report(f"finished in {duration(seconds)}: {job.output.path}")


def _make_passes(job: Job, names: list[str], observer: Observer | None, report: Callable[[str], None]) -> None:
    """Compute the blocks that are left, pass by pass; the output is held."""
    passes = Passes(job, names, report)
    for number, work in enumerate(passes):
        stages = [stage_of(job.plan.tasks[name]) for name in work.todo]
        if number == 0 and compiles(modules_of(stages, job.config)):
            report("compiling kernels, once per installation: the first blocks start in about a minute")
        passes.trouble = workers_of(job.config)(work, observer)
    finish(job)


def workers_of(config: Config) -> Callable[[Work, Observer | None], str | None]:
    """The function that computes work: with workers on this machine, or with workers on nodes that take blocks."""
    if not config.schedule.takes_blocks_from_driver:
        from fgnet_pipeline.execution import local_workers

        return local_workers.run
    from fgnet_pipeline.execution.cluster import driver_workers

    return driver_workers.run
