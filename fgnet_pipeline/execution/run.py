"""Running a configuration: check everything, compute what is not done, and say truthfully how it ended."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import BlocksFailedError, DamageError, InputError, StoreError
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.execution.cluster import job_chain as chains
from fgnet_pipeline.execution.cluster import slurm
from fgnet_pipeline.execution.cluster.job_chain import Chain
from fgnet_pipeline.execution.cluster.submission import SubmittedJob
from fgnet_pipeline.execution.processes.fork_server import fork_server
from fgnet_pipeline.execution.resume import (
    Left,
    blocks_where,
    check_fresh,
    failed_blocks,
    finish,
    left,
    lost,
    prepare,
)
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import clear_block, from_stage_on, plan_job, stage_names, stage_of
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.disk_errors import disk_errors, full_sentence, is_full, says_full
from fgnet_pipeline.store.driver_lock import DriverLock
from fgnet_pipeline.store.object_store import packages_of

#: How many failed blocks an error message names, and how much of their traceback it shows.
BLOCKS_NAMED, LINES_SHOWN = 3, 6
#: Errors whose text says all there is to say.
SENTENCES = (DamageError.__name__, StoreError.__name__)
#: How often a run goes over what is missing without any failure before it gives up.
PASSES = 3
PREDICT = ("predict",)


def open_planned(config: Config, stages: tuple[str, ...]) -> Job:
    """The job of ``config`` with its plan.

    Args:
        stages: what is about to run. Without ``predict``, stored affinities are used as they are.
    """
    use_threads(config.schedule.threads)
    job = open_job(config)
    if "predict" in stages and job.affinities is not None and stages == PREDICT:
        raise InputError("affinities.path", config.affinities.path, "no affinities of your own to predict affinities",
                         "leave affinities.path out")  # fmt: skip
    plan_job(job, new_affinities="predict" in stages)
    return job


def tasks_of(plan: Plan, stages: tuple[str, ...]) -> list[str]:
    """Names of the tasks of ``stages``, in the order of the data flow."""
    return [task.name for task in plan.tasks.values() if task.stage in stages]


def run(
    config: Config,
    stages: tuple[str, ...] | None = None,
    redo: str | None = None,
    observer: Any = None,
    report: Callable[[str], None] = lambda _: None,
) -> Job:
    """Compute every block of ``stages`` that is not done.

    Args:
        stages: names of stages; all if left out.
        redo: replace the results of this stage and of all after it.
        observer: told of progress (``schedule.Observer``). report: told in sentences.

    Raises:
        InputError: bad input; nothing has been written.
        BlocksFailedError: some blocks failed; all others are done.
    """
    started = time.time()
    forks = config.schedule.backend == "local" and config.schedule.workers > 0
    job, names = _checked(config, stages, redo, forks=forks)
    if config.schedule.backend == "array":
        _wait_for_submission(job, names, _submit(job, names, redo, report), report)
    else:
        _refuse_while_submitted(job)
        with _driving(job, names, redo):
            _compute(job, names, observer, report)
            finish(job)
    report(f"finished in {time.time() - started:.1f} s: {job.output.path}")
    return job


def _checked(
    config: Config, stages: tuple[str, ...] | None, redo: str | None, cluster: bool = True, forks: bool = False
) -> tuple[Job, list[str]]:
    """The planned job and the names of its tasks, after every check that needs nothing written.

    Args:
        cluster: whether to ask Slurm too. forks: whether workers will be forked here.
    """
    stages = stage_names() if stages is None else stages
    job = open_planned(config, stages)
    names = tasks_of(job.plan, stages)
    if redo is not None and redo in stage_names() and redo not in stages:
        raise InputError("--redo", redo, f"a stage that this command runs ({', '.join(stages)})", "use fgnet run")
    check_fresh(job, names, redo)
    _require_inputs(job, names)
    _check_ready(job, names, forks)
    if cluster and config.schedule.backend != "local":
        _check_host(config)
        chains.check(would_be_chain(job, names, redo))
    return job, names


def _check_host(config: Config) -> None:
    """See that the driver can listen where workers on the nodes are to reach it."""
    host = config.schedule.slurm.host
    if config.schedule.backend == "slurm" and host is not None:
        try:
            socket.create_server((host, 0)).close()
        except OSError as error:
            raise InputError("schedule.slurm.host", host, f"a name or address of this machine ({error})",
                             "`hostname -I` lists its addresses") from error  # fmt: skip


@contextmanager
def _locked(job: Job) -> Iterator[None]:
    job.output.create()
    with DriverLock(job.output.progress.root / "lock"):
        yield


@contextmanager
def _driving(job: Job, names: list[str], redo: str | None) -> Iterator[None]:
    """Hold the output: created, prepared, and nobody else's."""
    with disk_errors(job.output.root), _locked(job):
        check_fresh(job, names, redo)
        job.output.save_configuration(job.config.model_dump(mode="json"))
        prepare(job, names, redo)
        _clear_inactive(job, names)
        _requeue_lost(job, names)
        yield


def planned_chain(config: Config, stages: tuple[str, ...] | None = None, redo: str | None = None) -> Chain:
    """What :func:`submit` would submit, after the same checks; nothing is written, and no sbatch is needed."""
    job, names = _checked(config, stages, redo, cluster=slurm.is_installed())
    return would_be_chain(job, names, redo)


def would_be_chain(job: Job, names: list[str], redo: str | None) -> Chain:
    """The chain of arrays that a submission would be; nothing is written."""
    todo = {}
    for name in names:
        state, stage = left(job, name), job.plan.tasks[name].stage
        again = redo is not None and stage in from_stage_on(redo)
        todo[name] = state.active if again else state.todo
    spec = _spec(job, 1 + (job.output.progress.driver() or 0))
    return chains.chain_of(job, spec, {name: bits for name, bits in todo.items() if bits.any()})


def submit(
    config: Config,
    stages: tuple[str, ...] | None = None,
    redo: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[Job, list[SubmittedJob]]:
    """Submit what is not done as a chain of job arrays and return; no job where nothing is left.

    Raises:
        InputError: bad input, or jobs of an earlier submission are still alive; nothing has been written.
    """
    job, names = _checked(config, stages, redo)
    return job, _submit(job, names, redo, report)


def _submit(job: Job, names: list[str], redo: str | None, report: Callable[[str], None]) -> list[SubmittedJob]:
    chains.refuse_while_alive(job)
    with _driving(job, names, redo):
        remaining = {name: left(job, name) for name in names}
        report(_summary(remaining))
        if not any(state.todo.any() for state in remaining.values()):
            finish(job)
            return []
        spec, todo = _announce(job, remaining)
        return chains.send(chains.chain_of(job, spec, todo), job)


def _wait_for_submission(job: Job, names: list[str], jobs: list[SubmittedJob], report: Callable[[str], None]) -> None:
    """Until none of ``jobs`` is alive; an interrupt leaves the jobs to themselves."""
    if jobs:
        report(f"submitted {len(jobs)} jobs; they go on without this command, and fgnet status shows them")
    trouble = chains.wait(jobs, job.config.schedule.slurm.poll_seconds, report)
    _require_done(job, names, trouble)


def _refuse_while_submitted(job: Job) -> None:
    """Computing here would stop the jobs of a submission; where Slurm does not answer they are stopped, unharmed."""
    with suppress(slurm.SlurmError):
        chains.refuse_while_alive(job)


def _clear_inactive(job: Job, names: list[str]) -> None:
    """Blocks that a smaller mask has left without work hold nothing any more, so that old ids do not stay in them."""
    if job.mask is None:
        return
    for name in names:
        state = left(job, name)
        gone = state.stale & ~state.active
        job.output.progress.withdraw(name, blocks_where(job, name, gone), (job.output.progress.driver() or 0) + 1)
        for block in blocks_where(job, name, gone):
            clear_block(job, name, block)


def _requeue_lost(job: Job, names: list[str]) -> None:
    """Blocks whose output is gone are computed again, with the same bytes; what was made of them before stays."""
    for name in names:
        blocks = blocks_where(job, name, lost(job, name))
        job.output.progress.withdraw(name, blocks, (job.output.progress.driver() or 0) + 1)


def _compute(job: Job, names: list[str], observer: Any, report: Callable[[str], None]) -> None:
    remaining = {name: left(job, name) for name in names}
    report(_summary(remaining))
    trouble: str | None = None
    for _ in range(PASSES):
        if not any(state.todo.any() for state in remaining.values()):
            return
        trouble = _one_pass(job, remaining, observer)
        remaining = {name: left(job, name) for name in names}
        if any(job.output.progress.failures(name) for name in names):
            break
        # No block failed: what is missing went down with a worker that was killed before its records were on disk.
    _require_done(job, names, trouble)


def _one_pass(job: Job, remaining: dict[str, Left], observer: Any) -> str | None:
    from fgnet_pipeline.execution import daisy_tasks as schedule

    spec, todo = _announce(job, remaining)
    return schedule.run(schedule.Work(job, spec, todo), observer)


def _announce(job: Job, remaining: dict[str, Left]) -> tuple[WorkerSpec, dict[str, npt.NDArray[np.bool_]]]:
    """Begin a new run, after which workers of older ones write nothing: what workers are told, and what to do."""
    job.output.progress.forget_failures()
    todo = {name: state.todo for name, state in remaining.items() if state.todo.any()}
    number = job.output.progress.set_driver()
    for name in todo:
        stale = remaining[name].todo & remaining[name].stale
        job.output.progress.withdraw(name, blocks_where(job, name, stale), number)
    return _spec(job, number), todo


def _spec(job: Job, number: int) -> WorkerSpec:
    return WorkerSpec(job.config.model_dump(mode="json"), job.roi, tuple(job.plan.tasks.values()), number)


def _summary(remaining: dict[str, Left]) -> str:
    parts = [f"{name} {int(state.todo.sum())} of {int(state.active.sum())}" for name, state in remaining.items()]
    return "blocks to do: " + ", ".join(parts)


def _require_inputs(job: Job, names: list[str]) -> None:
    """The upstream tasks that do not run now must be finished."""
    missing = {u for name in names for u in job.plan.tasks[name].upstream if u not in names}
    for upstream in sorted(missing):
        state = left(job, upstream)
        if state.todo.any():
            raise InputError(
                "output.path",
                job.output.path,
                f"finished {upstream} results ({int(state.todo.sum())} of {int(state.active.sum())} blocks missing)",
                "run run_predict.py with this configuration first",
            )
        if gone := int(lost(job, upstream).sum()):
            raise DamageError(
                f"{gone} blocks of {upstream} are recorded as done, but nothing of them is stored: "
                "`fgnet verify CONFIG` names them, and fgnet run computes them again"
            )


def _check_ready(job: Job, names: list[str], forks: bool) -> None:
    """Let the stages that have blocks to do check what takes long, e.g. load a model, before anything is written.

    Args:
        forks: whether workers will be forked here; the process that they are forked from then starts meanwhile.
    """
    for name in names:
        state, stage = left(job, name), stage_of(job.plan.tasks[name])
        if state.todo.any() and stage.preload:
            if forks:
                fork_server([stage], packages_of(job.config.model_dump(mode="json")))
            stage.check_ready(job, first=not state.done.any())


def _require_done(job: Job, names: list[str], trouble: str | None) -> None:
    """Raise unless the records say that everything is done: the scheduler's word is not enough."""
    sentences = []
    for name in names:
        missing = int(left(job, name).todo.sum())
        if missing:
            sentences += _describe_failures(job, name, missing)
    if sentences:
        sentences += [trouble] if trouble else []
        if is_full(job.output.root, "\n".join(sentences)):
            sentences.append(full_sentence(job.output.root))
        raise BlocksFailedError("\n".join(sentences))


def _describe_failures(job: Job, name: str, missing: int) -> list[str]:
    failed = failed_blocks(job, name, left(job, name).todo)
    if not failed:
        return [f"{name}: {missing} blocks are waiting for blocks that failed, or went down with a worker"]
    sentences = [f"{name}: {missing} blocks are not done, {len(failed)} of them failed"]
    for failure in failed[:BLOCKS_NAMED]:
        tail = "\n    ".join(_tail(failure.error))
        where = f" (log: {failure.log})" if failure.log else ""
        sentences.append(f"  block {list(failure.block)}{where}:\n    {tail}")
    return sentences


def _tail(error: str) -> list[str]:
    """The end of a traceback; of an error that is a sentence, that alone."""
    lines = error.strip().splitlines()
    kind, _, sentence = lines[-1].partition(": ") if lines else ("", "", "")
    if kind.endswith(SENTENCES):
        return [sentence]
    return lines[-1:] if says_full("".join(lines[-1:])) else lines[-LINES_SHOWN:]
