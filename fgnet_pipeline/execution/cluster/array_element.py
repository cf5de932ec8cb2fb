"""One element of a job array: computes its share of a task's blocks, without a server, a lock or a word to the others.

What it finished is in its own record files, so that the same share, requeued or submitted again, passes over it. Two
elements never have a block in common; elements of an older submission see that a newer run has begun, and stop.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from fgnet_pipeline.core.errors import BlocksFailedError, InputError, PipelineError, StoppedError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.signals import stop_on_signal
from fgnet_pipeline.execution.block_runner import BlockRunner
from fgnet_pipeline.execution.cluster.submission import Submission, read_submission
from fgnet_pipeline.execution.processes.interrupt import Terminated
from fgnet_pipeline.store.records.results import latest_results


def run_share(path: Path, name: str, index: int | None = None) -> int:
    """Compute share ``index`` (default: the number of this array element) of the task ``name``.

    Args:
        path: of the submission (:mod:`fgnet_pipeline.execution.cluster.submission`).

    Returns:
        How many blocks it computed.

    Raises:
        InputError: no such task or share. PipelineError: a newer run has begun.
        BlocksFailedError: some blocks failed. StoppedError: SIGTERM came before the share was done.
    """
    submission = read_submission(path)
    index = _checked(submission, path, name, index)
    spec = submission.spec
    job = spec.open_job()
    label = f"run{spec.run}-share{index}-"
    with (
        stop_on_signal() as stop,
        BlockRunner(job, name, spec.run, index, log_of_this_job(job.output.logs), label=label) as runner,
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


def _checked(submission: Submission, path: Path, name: str, index: int | None) -> int:
    if name not in submission.work:
        known = ", ".join(submission.work)
        raise InputError("--task", name, f"one of {known}", f"these are the tasks that {path} has work for")
    if index is None:
        text = os.environ.get("SLURM_ARRAY_TASK_ID", "")
        if not text.isdecimal():
            raise InputError("--share", None, "the number of a share", "give it, or run this in a job array")
        index = int(text)
    shares = submission.work[name].shares
    if not 0 <= index < shares:
        raise InputError("--share", index, f"0 to {shares - 1}", f"{path} divides {name} into {shares} shares")
    return index


def _require_latest(runner: BlockRunner, path: Path) -> None:
    if runner.is_superseded():
        raise PipelineError(f"a newer run has begun since {path} was submitted; this worker leaves the blocks to it")


def _done(runner: BlockRunner, label: str) -> set[Vector]:
    """Blocks that an earlier incarnation of this share finished in this run."""
    results = latest_results(runner.job.output.progress, runner.name, label)
    keys = {block: runner.job.plan.identity(runner.name, block)[0] for block in results}
    return {block for block, result in results.items() if result.key == keys[block]}


def _compute(runner: BlockRunner, blocks: list[Vector], stop: threading.Event, retries: int) -> list[Vector]:
    """Compute ``blocks``, those that fail up to ``retries`` times more; returns those that failed to the end."""
    failed = blocks
    for _ in range(retries + 1):
        failed = _one_pass(runner, failed, stop)
        if not failed or stop.is_set() or runner.is_superseded():
            break
    return failed


def _one_pass(runner: BlockRunner, blocks: list[Vector], stop: threading.Event) -> list[Vector]:
    queue, lock, failed = iter(blocks), threading.Lock(), []

    def serve() -> None:
        while not stop.is_set():
            with lock:
                block = next(queue, None)
            if block is None:
                return
            if not runner.run(block):
                if runner.is_superseded():
                    return
                failed.append(block)

    serve_in_lanes(serve, runner.lanes)
    return failed


def serve_in_lanes(serve: Callable[[], None], count: int) -> None:
    """Run ``serve`` here and in ``count`` - 1 more threads, until all have come back."""
    threads = [threading.Thread(target=serve) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    try:
        serve()
    finally:
        if not isinstance(sys.exception(), Terminated):  # which leaves no time for blocks that others compute
            for thread in threads:
                thread.join()


def log_of_this_job(folder: Path) -> str:
    """The file in ``folder`` that Slurm writes this process's output to; empty outside a job array."""
    keys = ("SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    name, job, index = (os.environ.get(key, "") for key in keys)
    return str(folder / f"{name}-{job}_{index}.log") if job else ""
