"""The bodies of elements of job arrays that need no driver.

An element computes its share of a task's blocks, without a server, a lock or a word to the others. The blocks that it
finished are in its own record files, so that the same share, requeued or submitted again, passes over them. Two
elements never have a block in common. Elements of an older submission see that a newer run has begun, and stop.
"""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from fgnet_pipeline.core.errors import BlocksFailedError, InputError, PipelineError, StoppedError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.signals import Stop, stop_on_signal
from fgnet_pipeline.execution.block_runner import BlockRunner, refusals_noted
from fgnet_pipeline.execution.cluster.lookup import cluster_of
from fgnet_pipeline.execution.cluster.submission import Submission, read_submission
from fgnet_pipeline.execution.processes.lanes import serve_in_lanes
from fgnet_pipeline.execution.resume import finish, left
from fgnet_pipeline.store.records.results import latest_results


def run_share(path: Path, name: str, index: int | None = None) -> int:
    """Compute one share of a task.

    Args:
        path: of the submission (`fgnet_pipeline.execution.cluster.submission`).
        name: of the task.
        index: number of the share; None: the number of this element.

    Returns:
        How many blocks it computed.

    Raises:
        InputError: There is no such task or share.
        PipelineError: A newer run has begun.
        BlocksFailedError: Some blocks failed.
        StoppedError: SIGTERM came before the share was done.
    """
    submission = read_submission(path)
    if name not in submission.work:
        known = ", ".join(submission.work)
        raise InputError("--task", name, f"one of {known}", f"these are the tasks that {path} has work for")
    spec = submission.spec
    noted = partial(refusals_noted, path.parent, name, spec.run)
    with noted():
        job = spec.open_job()
    cluster = cluster_of(job.config)
    index = _share(submission, path, name, cluster.own_number() if index is None else index)
    label = f"run{spec.run}-share{index}-"
    with (
        stop_on_signal() as stop,
        noted(),
        BlockRunner(job, name, spec.run, index, cluster.own_log(job.output.logs), label=label) as runner,
    ):
        _require_latest(runner, path)
        todo = submission.work[name].of(index)
        done = _done(runner, label)
        blocks = [block for block in todo if block not in done]
        failed = _compute(runner, blocks, stop, job.config.schedule.retries)
        computed = runner.computed
        _require_latest(runner, path)
    if stop.is_set() and computed < len(blocks):
        left = len(blocks) - computed
        raise StoppedError(f"{name} share {index}: stopped by SIGTERM with {left} of {len(todo)} blocks left")
    if failed:
        raise BlocksFailedError(f"{name} share {index}: {len(failed)} of {len(todo)} blocks failed")
    return computed


def finish_submission(path: Path) -> str:
    """See that every block of a submission has its record: what the last job of a chain does.

    Args:
        path: of the submission.

    Returns:
        A sentence that says so.

    Raises:
        BlocksFailedError: Some blocks have no record.
        PipelineError: A newer run has begun.
    """
    submission = read_submission(path)
    job = submission.spec.open_job()
    if job.output.progress.driver() != submission.spec.run:
        raise PipelineError(f"a newer run has begun since {path} was submitted")
    missing = {name: int(left(job, name).todo.sum()) for name in submission.work}
    if any(missing.values()):
        text = ", ".join(f"{name} {count}" for name, count in missing.items() if count)
        raise BlocksFailedError(f"blocks that are not done: {text}; submit again to compute them")
    finish(job)
    return f"every block of {job.output.path} is done"


def _share(submission: Submission, path: Path, name: str, index: int | None) -> int:
    """Check the number of a share."""
    if index is None:
        raise InputError("--share", None, "the number of a share", "give it, or run this in a job array")
    shares = submission.work[name].shares
    if not 0 <= index < shares:
        raise InputError("--share", index, f"0 to {shares - 1}", f"{path} divides {name} into {shares} shares")
    return index


def _require_latest(runner: BlockRunner, path: Path) -> None:
    if runner.is_superseded():
        raise PipelineError(f"a newer run has begun since {path} was submitted; this worker leaves the blocks to it")


def _done(runner: BlockRunner, label: str) -> set[Vector]:
    """Blocks that the same share, started before in this run, has finished."""
    results = latest_results(runner.job.output.progress, runner.name, label)
    keys = {block: runner.job.plan.identity(runner.name, block)[0] for block in results}
    return {block for block, result in results.items() if result.key == keys[block]}


def _compute(runner: BlockRunner, blocks: list[Vector], stop: Stop, retries: int) -> list[Vector]:
    """Compute `blocks`, those that fail up to `retries` times more; returns those that failed to the end."""
    failed = blocks
    for _ in range(retries + 1):
        failed = _one_pass(runner, failed, stop)
        if not failed or stop.is_set() or runner.is_superseded():
            break
    return failed


def _one_pass(runner: BlockRunner, blocks: list[Vector], stop: Stop) -> list[Vector]:
    """Compute each of `blocks` once, unless the worker is asked to stop; returns those that failed."""
    queue, lock, failed = iter(blocks), threading.Lock(), list[Vector]()

    def serve() -> None:
        while not stop.is_set():
            with lock:
                block = next(queue, None)
            if block is None:
                return
            if not runner.run_or_end(block):
                if runner.is_superseded():
                    return
                failed.append(block)

    serve_in_lanes(serve, runner.lanes)
    return failed
