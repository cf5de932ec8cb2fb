"""The steps that all drivers share: check the job, hold its output, announce a run, and repeat passes over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import DamageError, InputError
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.execution.failures import require_done
from fgnet_pipeline.execution.last_run import begun_values
from fgnet_pipeline.execution.processes.fork_server import fork_server
from fgnet_pipeline.execution.processes.loaded_modules import modules_of
from fgnet_pipeline.execution.region import check_region
from fgnet_pipeline.execution.resume import Left, blocks_where, check_fresh, left, lost, prepare
from fgnet_pipeline.execution.work import Work
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import clear_block, from_stage_on, plan_job, stage_names, stage_of
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.disk_errors import disk_errors
from fgnet_pipeline.store.driver_lock import DriverLock

PREDICT = ("predict",)
#: Passes over the missing blocks before a run without failures gives up.
PASSES = 3


def open_planned(config: Config, stages: tuple[str, ...], redo: str | None = None, only_reads: bool = False) -> Job:
    """Open the job of a configuration with its plan; nothing is written.

    Args:
        config: a validated configuration.
        stages: stages that are about to run. Without `predict`, stored affinities are used as they are.
        redo: the stage whose results, and those of all later stages, are replaced; None for no stage.
        only_reads: whether results are only read; see `open_job`.

    Raises:
        InputError: the first thing that does not fit.
    """
    use_threads(config.schedule.threads)
    job = open_job(config, from_stage_on(redo) if redo in stage_names() else (), only_reads)
    if "predict" in stages and job.affinities is not None and stages == PREDICT:
        raise InputError("affinities.path", config.affinities.path, "no affinities of your own to predict affinities",
                         "leave affinities.path out")  # fmt: skip
    plan_job(job, new_affinities="predict" in stages)
    return job


def tasks_of(plan: Plan, stages: tuple[str, ...]) -> list[str]:
    """Names of the tasks of `stages`, in the order of the data flow."""
    return [task.name for task in plan.tasks.values() if task.stage in stages]


def checked(
    config: Config, stages: tuple[str, ...] | None, redo: str | None, here: bool = False, small_region: bool = True
) -> tuple[Job, list[str]]:
    """Do all checks that write nothing and ask no cluster.

    Args:
        config: a validated configuration.
        stages: what is about to run; None: all stages.
        redo: the stage whose results, and those of all later stages, are replaced; None for no stage.
        here: whether blocks will be computed on this machine. If workers will be forked, the process that they are
            forked from starts meanwhile.
        small_region: whether a region of interest that is shorter than the model's context is accepted.

    Returns:
        The planned job, and the names of the tasks that are about to run.

    Raises:
        InputError: bad input, results of another configuration, or missing results of an earlier stage.
        DamageError: results of an earlier stage are gone.
    """
    stages = stage_names() if stages is None else stages
    job = open_planned(config, stages, redo)
    names = tasks_of(job.plan, stages)
    if redo is not None and redo in stage_names() and redo not in stages:
        raise InputError("--redo", redo, f"a stage that this command runs ({', '.join(stages)})", "use fgnet run")
    check_region(job, small_region)
    check_fresh(job, names, redo)
    # Upstream tasks that do not run now must be finished.
    missing = {u for name in names for u in job.plan.tasks[name].upstream if u not in names}
    require_finished(job, sorted(missing), "run run_predict.py with this configuration first")
    _check_ready(job, names, here)
    return job, names


@contextmanager
def driving(job: Job, names: list[str], redo: str | None) -> Iterator[None]:
    """Create the output, hold it for this driver alone, and prepare it for the tasks `names`.

    Raises:
        InputError: another driver holds the output, or it now has results of another configuration.
        DiskFullError: the disk is full.
    """
    with disk_errors(job.output.root), _locked(job):
        check_fresh(job, names, redo)
        job.output.save_configuration(job.config.model_dump(mode="json"), begun_values(job, names, redo), job.roi)
        prepare(job, names, redo)
        _clear_inactive(job, names)
        _requeue_lost(job, names)
        yield


def announce(job: Job, remaining: dict[str, Left]) -> Work:
    """Begin a new run. From then on, workers of older runs write nothing.

    Args:
        job: with its plan; its output is held.
        remaining: the state of the blocks of each task.

    Returns:
        The blocks to compute, and the orders for workers.
    """
    job.output.progress.forget_failures()
    todo = {name: state.todo for name, state in remaining.items() if state.todo.any()}
    number = job.output.progress.set_driver()
    for name in todo:
        stale = remaining[name].todo & remaining[name].stale
        job.output.progress.withdraw(name, blocks_where(job, name, stale), number)
    return Work(job, spec_of(job, number), todo)


def spec_of(job: Job, number: int) -> WorkerSpec:
    """The orders for the workers of the run `number`."""
    tasks = tuple(job.plan.tasks.values())
    return WorkerSpec(job.config.model_dump(mode="json"), job.roi, tasks, number, job.purpose)


def all_left(job: Job, names: list[str]) -> dict[str, Left]:
    """The state of the blocks of each task, by name."""
    return {name: left(job, name) for name in names}


def summary(remaining: dict[str, Left]) -> str:
    """One line with the number of blocks to compute per task."""
    parts = [f"{name} {int(state.todo.sum())} of {int(state.active.sum())}" for name, state in remaining.items()]
    return "blocks to do: " + ", ".join(parts)


class Passes:
    """The work of a run in passes. Blocks that are still missing after a pass are tried again unless a block failed.

    Attributes:
        trouble: errors of workers in the latest pass; the caller that runs the work sets it.
    """

    def __init__(self, job: Job, names: list[str], report: Callable[[str], None]) -> None:
        self._job, self._names, self._report = job, names, report
        self.trouble: str | None = None

    def __iter__(self) -> Iterator[Work]:
        """Yield the work of each pass.

        Raises:
            BlocksFailedError: blocks without a record remain after the last pass.
            InputError: blocks without a record remain, since a worker could not begin.
        """
        remaining = all_left(self._job, self._names)
        self._report(summary(remaining))
        for _ in range(PASSES):
            if not any(state.todo.any() for state in remaining.values()):
                return
            yield announce(self._job, remaining)
            remaining = all_left(self._job, self._names)
            progress = self._job.output.progress
            if any(progress.failures(name) or progress.refusal(name) for name in self._names):
                break
            # No block failed: the missing ones were lost with a worker that was killed before it wrote its records.
        require_done(self._job, self._names, self.trouble)


def again(job: Job, names: list[str], redo: str | None) -> dict[str, npt.NDArray[np.bool_]]:
    """The blocks that a run would compute, by task: missing ones, and all blocks of stages that `redo` replaces."""
    todo = {}
    for name in names:
        state, stage = left(job, name), job.plan.tasks[name].stage
        replaced = redo is not None and stage in from_stage_on(redo)
        todo[name] = state.active if replaced else state.todo
    return todo


@contextmanager
def _locked(job: Job) -> Iterator[None]:
    job.output.create()
    with DriverLock(job.output.progress.root / "lock", job.output.path):
        yield


def _clear_inactive(job: Job, names: list[str]) -> None:
    """Empty the blocks that have no work under a smaller mask, so that they keep no old ids."""
    if job.mask is None:
        return
    for name in names:
        state = left(job, name)
        gone = state.stale & ~state.active
        job.output.progress.withdraw(name, blocks_where(job, name, gone), (job.output.progress.driver() or 0) + 1)
        for block in blocks_where(job, name, gone):
            clear_block(job, name, block)


def _requeue_lost(job: Job, names: list[str]) -> None:
    """Queue blocks whose files are lost. They get the same bytes again, so later blocks stay."""
    for name in names:
        blocks = blocks_where(job, name, lost(job, name))
        job.output.progress.withdraw(name, blocks, (job.output.progress.driver() or 0) + 1)


def require_finished(job: Job, upstream: Iterable[str], remedy: str) -> None:
    """Refuse to read tasks that are not finished.

    Args:
        job: with its plan.
        upstream: names of tasks.
        remedy: for the error of a task with missing blocks.

    Raises:
        InputError: blocks of a task are missing.
        DamageError: blocks are recorded, but nothing of them is stored.
    """
    for name in upstream:
        state = left(job, name)
        if state.todo.any():
            raise InputError(
                "output.path",
                job.output.path,
                f"finished {name} results ({int(state.todo.sum())} of {int(state.active.sum())} blocks missing)",
                remedy,
            )
        if gone := int(lost(job, name).sum()):
            raise DamageError(
                f"{gone} blocks of {name} are recorded as done, but nothing of them is stored: "
                "`fgnet verify CONFIG` names them, and fgnet run computes them again"
            )


def _check_ready(job: Job, names: list[str], here: bool) -> None:
    """Let every stage that has blocks to compute do its slow checks, e.g. load a model, before anything is written.

    Args:
        job: with its plan.
        names: the tasks that are about to run.
        here: see `checked`.
    """
    waiting = [name for name in names if left(job, name).todo.any()]
    stages = [stage_of(job.plan.tasks[name]) for name in waiting]
    if here and job.config.schedule.workers and any(stage.preload(job.config) for stage in stages):
        fork_server(modules_of(stages, job.config))
    for name, stage in zip(waiting, stages, strict=True):
        if here:
            stage.check_machine(job)
        stage.check_ready(job, first=not left(job, name).done.any())
