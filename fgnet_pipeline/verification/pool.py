"""Check blocks in several processes.

Only a few batches are handed out at a time, so that memory does not grow with the number of blocks.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from fgnet_pipeline.core.errors import PipelineError
from fgnet_pipeline.core.signals import Stop, stop_on_signal
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.execution.processes.fork_server import server_with
from fgnet_pipeline.execution.processes.interrupt import POLL
from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.verification.block_checks import Expected, Finding, check_block

#: Batches handed out per process: one that is being checked, and one that waits.
AHEAD = 2
#: In a process of the pool: its job, opened once.
_job: list[Job] = []


def checked_in_processes(
    job: Job, spec: WorkerSpec, batches: Iterable[list[Expected]], workers: int
) -> Iterator[tuple[int, list[Finding]]]:
    """Check batches of blocks, in processes if there are several workers and batches, else in this process.

    Args:
        job: for checks in this process.
        spec: from which each process opens its own job.
        batches: records of the blocks to check.
        workers: number of processes; 0 or 1 checks in this process.

    Yields:
        Number of blocks checked so far, and the findings of one more batch. Batches keep their order.

    Raises:
        PipelineError: a process was killed, e.g. because memory ran out.
        KeyboardInterrupt: the user interrupted the command.
    """
    read = 0
    for size, findings in _in_turn(job, spec, list(batches), workers):
        read += size
        yield read, findings


def _in_turn(
    job: Job, spec: WorkerSpec, batches: list[list[Expected]], workers: int
) -> Iterator[tuple[int, list[Finding]]]:
    if workers <= 1 or len(batches) <= 1:
        yield from ((len(batch), check_blocks(job, batch)) for batch in batches)
        return
    # An interrupt must not stop the pool while it starts its processes: the pool would lose track of them and wait for
    # them for ever. So the signal only sets `stop`, which `_result` looks at.
    with stop_on_signal(signal.SIGINT) as stop:
        pool = ProcessPoolExecutor(workers, server_with([__name__]), _open, (spec,))
        waiting: deque[tuple[int, Future[list[Finding]]]] = deque()
        try:
            for batch in batches:
                waiting.append((len(batch), pool.submit(_check, batch)))
                if len(waiting) >= AHEAD * workers:
                    size, future = waiting.popleft()
                    yield size, _result(future, stop)
            while waiting:
                size, future = waiting.popleft()
                yield size, _result(future, stop)
        except BrokenProcessPool as error:
            raise PipelineError(
                "a process that checked blocks was killed (out of memory?): use fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _result(future: Future[list[Finding]], stop: Stop) -> list[Finding]:
    while not (wait([future], POLL).done or stop.is_set()):
        pass
    if stop.is_set():
        for process in multiprocessing.active_children():
            process.kill()  # safe, because it only reads
        raise KeyboardInterrupt
    return future.result()


def check_blocks(job: Job, batch: list[Expected]) -> list[Finding]:
    """The damage of all blocks of a batch."""
    return [finding for expected in batch for finding in check_block(job, expected)]


def _open(spec: WorkerSpec) -> None:
    """Open the job, once per process."""
    forgo_pandas()
    _job[:] = [spec.open_job()]


def _check(batch: list[Expected]) -> list[Finding]:
    return check_blocks(_job[0], batch)
