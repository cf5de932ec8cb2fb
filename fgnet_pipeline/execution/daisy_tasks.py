"""Running tasks with daisy: the only file that imports it.

Every task becomes a daisy task over voxels with block-level dependencies, so a block starts as soon as the blocks that
it reads are finished. Daisy's server spawns, watches and replaces workers. A worker is forked from a server process
that has imported everything once (``multiprocessing`` forkserver), so starting one costs milliseconds; this takes
daisy's run loop without the shim that starts a fresh interpreter a worker (``daisy.Server`` adds nothing else).

``schedule.workers`` is a total: the processes of all stages share that many places
(:mod:`fgnet_pipeline.execution.processes.machine_slots`).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Protocol

import daisy.v2 as daisy
import numpy as np
import numpy.typing as npt
from daisy import _daisy

from fgnet_pipeline.core.errors import InputError, PipelineError, StoppedError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.core.signals import stop_on_signal
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.execution.block_runner import BlockRunner, WorkerSpec, logging_to
from fgnet_pipeline.execution.cluster.array_element import log_of_this_job, serve_in_lanes
from fgnet_pipeline.execution.cluster.slurm import Array, SlurmError, build, cancel, grown
from fgnet_pipeline.execution.cluster.submission import (
    Submission,
    SubmittedJob,
    path_of,
    read_submission,
    record_job,
    submitted_jobs,
)
from fgnet_pipeline.execution.cluster.worker_pool import Elements
from fgnet_pipeline.execution.processes.fork_server import fork_server
from fgnet_pipeline.execution.processes.interrupt import (
    Workers,
    flushed,
    native_output_to,
    obey_driver,
    serve_interruptibly,
)
from fgnet_pipeline.execution.processes.machine_slots import Slots
from fgnet_pipeline.execution.resume import blocks_where, left, ready
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of
from fgnet_pipeline.store.atomic_files import write_private
from fgnet_pipeline.store.object_store import packages_of

#: Replacements of dead workers before a task is abandoned: enough for a rough night, few enough to end on a bug.
MAX_WORKER_RESTARTS = 20
#: How long a worker on a node waits for the driver to answer.
REACH_SECONDS = 30.0
#: How many earlier runs are searched for workers that are still in the queue.
LEFTOVER_RUNS = 10
#: Where more blocks than this are done, and this many times as many as are left, these are given to daisy as a list.
MANY_SKIPPED, SPARSE = 5000, 50


@dataclass(frozen=True)
class Counts:
    """How far one task is."""

    total: int
    done: int
    failed: int
    running: int


class Observer(Protocol):
    """Told of progress, at most a few times a second."""

    def update(self, counts: dict[str, Counts]) -> None: ...


@dataclass(frozen=True)
class Work:
    """Tasks to run: name -> for each block of ``plan.blocks(name)`` whether it is to be computed.

    ``listed``: instead of the grid of a task, its blocks one by one, in any order and without dependencies.
    """

    job: Job
    spec: WorkerSpec
    todo: dict[str, npt.NDArray[np.bool_]]
    listed: Mapping[str, list[Vector]] = field(default_factory=dict)


def run(work: Work, observer: Observer | None = None) -> str | None:
    """Run all blocks to do; returns what daisy says of workers that died, or None.

    Which blocks are finished is read off their records afterwards, not off this call.
    """
    if work.job.config.schedule.backend == "slurm":
        return _run_on_cluster(work, observer)
    parts = _listed(work) if _is_sparse(work.todo) else [work]
    return "\n".join(error for part in parts if (error := _run_part(part, observer))) or None


def _run_part(work: Work, observer: Observer | None) -> str | None:
    workers = work.job.config.schedule.workers
    if workers == 0:
        return _run_serially(work, observer)
    return _run_in_processes(work, workers, observer)


def _is_sparse(todo: Mapping[str, npt.NDArray[np.bool_]]) -> bool:
    """Whether so little is left that passing over what is done would take longer: daisy needs .3 ms for a block that
    it skips, as for one that it runs."""
    few = sum(int(mask.sum()) for mask in todo.values())
    skipped = sum(mask.size for mask in todo.values()) - few
    return skipped > MANY_SKIPPED and few * SPARSE < skipped


def _listed(work: Work) -> Iterator[Work]:
    """The same work one task at a time, as lists of blocks; those whose inputs failed are left out, as daisy does."""
    for name, todo in work.todo.items():
        chosen = ready(work.job, name, todo)
        if chosen.any():
            yield Work(work.job, work.spec, {name: todo}, {name: list(blocks_where(work.job, name, chosen))})


def _pipeline(work: Work, process: Callable[[str], Callable[..., Any]]) -> Any:
    tasks = {name: _daisy_task(work, name, process(name)) for name in work.todo}
    # One chain: what a task reads of tasks further up is finished before what it reads of the last.
    chain: list[Any] = list(tasks.values())
    return daisy.Pipeline(chain, list(itertools.pairwise(chain)))


def _daisy_task(
    work: Work,
    name: str,
    process: Callable[..., Any],
    workers: int | None = None,
    restarts: int = MAX_WORKER_RESTARTS,
) -> daisy.Task:
    task, schedule = work.job.plan.tasks[name], work.job.config.schedule
    blocks, shape = work.job.plan.blocks(name), task.grid.block_shape
    # Daisy 2.0.0 hands out blocks again and again where the context differs between the sides: give it the larger one.
    context = np.maximum(task.below, task.above).tolist()
    skipped: npt.NDArray[np.bool_] | None = ~work.todo[name]
    if name in work.listed:
        number = len(work.listed[name])
        blocks, shape, context, skipped = Box((0, 0, 0), (number, 1, 1)), (1, 1, 1), [0, 0, 0], None
    write = daisy.Roi((0, 0, 0), shape)
    total = daisy.Roi(np.multiply(blocks.begin, shape).tolist(), np.multiply(blocks.shape, shape).tolist())
    option = stage_of(task).schedule
    return daisy.Task(
        name,
        total.grow(context, context),
        write.grow(context, context),
        write,
        process_function=process,
        read_write_conflict=False,
        fit="valid",
        # No more workers than blocks: each has to open the job before it finds that nothing is left.
        max_workers=workers or max(1, min(schedule.workers_of(option), int(work.todo[name].sum()))),
        max_retries=schedule.retries,
        timeout=schedule.block_timeout,
        max_worker_restarts=restarts,
        skip_mask=skipped,
        tracking_path=False,
    )


def _block_index(task: Task, block: Any, listed: list[Vector] | None) -> Vector:
    if listed is not None:
        return listed[int(block.write_roi.begin[0])]
    return vector(np.floor_divide(block.write_roi.begin, task.grid.block_shape))


def _run_serially(work: Work, observer: Observer | None) -> str | None:
    runners: dict[str, BlockRunner] = {}

    def process_of(name: str) -> Callable[[Any], None]:
        def process(block: Any) -> None:
            if name not in runners:
                runners[name] = BlockRunner(work.job, name, work.spec.run)
            index = _block_index(work.job.plan.tasks[name], block, work.listed.get(name))
            if not runners[name].run(index):
                block.status = daisy.BlockStatus.FAILED

        return process

    try:
        states, _ = _daisy._run_serial(_pipeline(work, process_of), block_tracking=False)
    finally:
        for runner in runners.values():
            runner.close()
    if observer is not None:
        observer.update(_counts(states))
    return _worker_errors(states)


def _run_in_processes(work: Work, workers: int, observer: Observer | None) -> str | None:
    stages = [stage_of(work.job.plan.tasks[name]) for name in work.todo]
    fork = fork_server(stages, packages_of(work.spec.config))  # here, so that it does not write where daisy does
    alive = Workers()
    with _places() as places:
        lock = threading.Lock()
        number = {name: 0 for name in work.todo}

        def process_of(name: str) -> Callable[..., None]:
            own = work.job.config.schedule.of(stage_of(work.job.plan.tasks[name]).schedule).workers is not None

            def spawn(*, context: Any) -> None:
                with lock:
                    index = number[name]
                    number[name] += 1
                listed = work.listed.get(name)
                arguments = (work.spec, name, index, context.to_env(), None if own else places, workers, listed)
                _spawn_and_wait(fork, lock, alive, arguments)

            return spawn

        pipeline = _pipeline(work, process_of)
        watcher = _Adapter(observer) if observer else None

        def serve() -> Any:
            return _daisy._run_distributed_server(pipeline, None, watcher, host="127.0.0.1", block_tracking=False)

        with native_output_to(work.job.output.logs / "daisy.log"):
            states, _ = serve_interruptibly(serve, alive)
    return _worker_errors(states)


def _run_on_cluster(work: Work, observer: Observer | None) -> str | None:
    """Task after task, each with its own workers: none waits on its node for blocks that others have yet to make."""
    _cancel_leftovers(work)
    Submission(work.spec, {}).write(work.job.output.progress.root)
    work.job.output.logs.mkdir(parents=True, exist_ok=True)
    for name in work.todo:
        trouble = _one_task_on_cluster(work, name, observer)
        if trouble is not None or left(work.job, name).todo.any():
            return trouble
    return None


def _one_task_on_cluster(work: Work, name: str, observer: Observer | None) -> str | None:
    schedule, progress = work.job.config.schedule, work.job.output.progress.root
    workers = min(schedule.workers_of(stage_of(work.job.plan.tasks[name]).schedule), int(work.todo[name].sum()))

    def record(job: str, array: Array) -> None:
        record_job(progress, work.spec.run, SubmittedJob(name, job, array.elements, 0, server=True))

    elements = Elements(
        lambda count, more: _array(work, name, count, more),
        workers, schedule.slurm.poll_seconds, MAX_WORKER_RESTARTS, record,
    )  # fmt: skip
    failure: list[str] = []

    def spawn(*, context: Any) -> None:
        # One of daisy's workers stands for all elements: they share its context, and blocks of one that dies come back.
        path = _context_path(work, name)
        write_private(path, context.to_env())
        try:
            elements.run()
        except SlurmError as error:
            failure.append(f"{name}: {error}")
            raise
        finally:
            path.unlink(missing_ok=True)

    pipeline = daisy.Pipeline([_daisy_task(work, name, spawn, workers=1, restarts=0)], [])
    states: dict[str, Any] = {}

    def serve() -> None:
        found, _ = _daisy._run_distributed_server(
            pipeline, None, _Adapter(observer, elements), host=schedule.slurm.host, block_tracking=False
        )
        states.update(found)

    with native_output_to(work.job.output.logs / "daisy.log"):
        _in_thread(serve, elements.stop)
    return failure[0] if failure else None


def _in_thread(serve: Callable[[], None], stop: Callable[[], None]) -> None:
    """Run ``serve`` beside this thread, which alone can be told of signals: SIGINT and SIGTERM call ``stop``."""
    thread = threading.Thread(target=serve, daemon=True)
    with stop_on_signal(signal.SIGTERM, signal.SIGINT) as stopped:
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
            if stopped.is_set():
                stop()
    if stopped.is_set():
        raise KeyboardInterrupt


def _cancel_leftovers(work: Work) -> None:
    """Workers that an earlier driver left in the queue have nobody to talk to."""
    progress = work.job.output.progress.root
    for run in range(max(1, work.spec.run - LEFTOVER_RUNS), work.spec.run):
        cancel([job.job for job in submitted_jobs(progress, run) if job.server])


def _array(work: Work, name: str, count: int, more: bool) -> Array:
    asked = work.job.config.schedule.slurm.of(stage_of(work.job.plan.tasks[name]).schedule)
    progress = work.job.output.progress.root.absolute()
    words = ["worker", str(path_of(progress, work.spec.run)), "--task", name]
    words += ["--connect", str(_context_path(work, name))]
    comment = f"{name}: workers that take blocks from the driver on {work.job.config.schedule.slurm.host}"
    return build(
        grown(asked) if more else asked, f"fgnet-{name}", count, work.job.output.logs.absolute(), words, comment
    )


def _context_path(work: Work, name: str) -> Path:
    return work.job.output.progress.root.absolute() / f"connect-{work.spec.run}-{name}"


def serve_driver(submission: Path, name: str, connect: Path) -> int:
    """Body of a worker on a node: take blocks from the driver until there are none left; returns how many it computed.

    Args:
        connect: the file that says where the driver listens.

    Raises:
        PipelineError: the driver cannot be reached. StoppedError: SIGTERM came first.
    """
    spec = read_submission(submission).spec
    if name not in {task.name for task in spec.tasks}:
        raise InputError("--task", name, "a task of the submission", "see the script that submitted this")
    _reach(connect)
    job = spec.open_job()
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    log = log_of_this_job(job.output.logs)
    gone: list[RuntimeError] = []

    def serve() -> None:
        try:
            _serve(runner, stop)
        except RuntimeError as error:  # daisy's word for a server that no longer answers
            gone.append(error)

    with stop_on_signal() as stop, BlockRunner(job, name, spec.run, index, log) as runner:
        serve_in_lanes(serve, runner.lanes)
        computed = runner.computed
    if gone:
        raise PipelineError(f"{name}: the driver has gone ({gone[0]}); {computed} blocks are recorded") from gone[0]
    if stop.is_set():
        raise StoppedError(f"{name}: stopped by SIGTERM after {computed} blocks")
    return computed


def _reach(connect: Path) -> None:
    """See that the driver answers at the place that ``connect`` names, and tell daisy's client of it."""
    try:
        os.environ[daisy.Context.ENV_VARIABLE] = connect.read_text()
        context = daisy.Context.from_env()
        host, port = context["hostname"], int(context["port"])
    except (OSError, KeyError, ValueError) as error:
        raise PipelineError(f"the driver of {connect} has ended ({error}); nothing is left to do for it") from error
    try:
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise PipelineError(
            f"the driver cannot be reached from {socket.gethostname()} at {host} port {port} ({error}): see that it "
            "runs, and that schedule.slurm.host is an address that compute nodes can connect to"
        ) from error


@contextmanager
def _places() -> Iterator[str]:
    """Path of the file that :class:`Slots` needs; without a name on Linux, so that it goes with this process."""
    if sys.platform == "linux":
        with tempfile.TemporaryFile() as file:
            yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
    else:
        with tempfile.TemporaryDirectory(prefix="fgnet-") as folder:
            yield str(Path(folder) / "slots")


def _spawn_and_wait(context: BaseContext, lock: threading.Lock, workers: Workers, arguments: tuple[Any, ...]) -> None:
    """Start a worker and wait for its end; called by daisy in a thread of its own."""
    if workers.stopping:
        return
    with lock:
        process = context.Process(target=work_on_blocks, args=arguments, daemon=False)  # type: ignore[attr-defined]
        process.start()
    # Threads that poll or join the same fork server at once can take each other's exit status: wait on the sentinel,
    # which is this process's own, and collect the status alone.
    with workers.watched(process):
        connection.wait([process.sentinel])
    with lock:
        process.join()
    if process.exitcode != 0 and not workers.stopping:
        how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
        raise RuntimeError(f"a worker of {arguments[1]} ended with {how}")


def work_on_blocks(
    spec: WorkerSpec,
    name: str,
    number: int,
    context: str,
    places: str | None,
    count: int,
    listed: list[Vector] | None = None,
) -> None:
    """Body of a worker process: take blocks from the daisy server until there are none left."""
    _end_with_parent()
    obey_driver()
    os.environ[daisy.Context.ENV_VARIABLE] = context
    job = spec.open_job()
    with logging_to(job.output.logs, name) as log:
        slots = Slots(places, count).hold if places is not None else None
        options: dict[str, Any] = {"slot": slots} if slots is not None else {}
        with BlockRunner(job, name, spec.run, number, log, **options) as runner:
            flushed(lambda: serve_in_lanes(lambda: _serve(runner, listed=listed), runner.lanes), runner.close)


def _end_with_parent() -> None:
    """Have the kernel end this worker when the fork server ends, which it does with the driver (Linux only)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _serve(runner: BlockRunner, stop: threading.Event | None = None, listed: list[Vector] | None = None) -> None:
    client = daisy.Client()
    while stop is None or not stop.is_set():
        with client.acquire_block() as block:
            if block is None:
                return
            if not runner.run(_block_index(runner.task, block, listed)):
                block.status = daisy.BlockStatus.FAILED


class _Adapter:
    """Daisy's observer interface on ours, and on the elements of the one task that runs on a cluster."""

    def __init__(self, observer: Observer | None, elements: Elements | None = None) -> None:
        self._observer, self._elements = observer, elements

    def on_start(self, states: Any) -> None:
        counts = _counts(states)
        if self._observer is not None:
            self._observer.update(counts)
        if self._elements is not None:
            for count in counts.values():
                self._elements.progress(count.done, count.total - count.done - count.failed)

    on_progress = on_finish = on_start


def _counts(states: Any) -> dict[str, Counts]:
    return {
        name: Counts(
            int(s.total_block_count), int(s.completed_count), int(s.failed_count) + int(s.orphaned_count),
            int(s.processing_count),
        )
        for name, s in states.items()
    }  # fmt: skip


def _worker_errors(states: Any) -> str | None:
    # The last line of a traceback says what happened, and the worker's log has the rest.
    errors = {name: s.first_worker_error.strip().splitlines() for name, s in states.items() if s.first_worker_error}
    found = [f"{name}: {lines[-1]}" for name, lines in errors.items()]
    found += [f"{name}: {s.abandon_reason}" for name, s in states.items() if s.abandoned and s.abandon_reason]
    return "\n".join(found) or None
