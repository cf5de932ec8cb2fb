"""Workers on this machine: processes forked from a server that has imported everything, or this process itself.

Starting a worker costs milliseconds (`fgnet_pipeline.execution.processes.fork_server`). `schedule.workers` is a
total: the processes of all stages share that many places (`fgnet_pipeline.execution.processes.machine_slots`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.execution.block_runner import BlockRunner, WorkerSpec, logging_to, refusals_noted
from fgnet_pipeline.execution.daisy_tasks import (
    Hands,
    Watcher,
    connect_to,
    counts_of,
    index_of,
    mark_failed,
    parts_of,
    pipeline_of,
    run_serially,
    serve,
    take_blocks,
    worker_errors,
)
from fgnet_pipeline.execution.processes.fork_server import fork_server
from fgnet_pipeline.execution.processes.interrupt import (
    Workers,
    flushed,
    native_output_to,
    obey_driver,
    serve_interruptibly,
)
from fgnet_pipeline.execution.processes.lanes import serve_in_lanes
from fgnet_pipeline.execution.processes.loaded_modules import modules_of
from fgnet_pipeline.execution.processes.machine_slots import Slots
from fgnet_pipeline.execution.tally import Tally
from fgnet_pipeline.execution.work import Observer, Work
from fgnet_pipeline.stages.registry import stage_of

LOCALHOST = "127.0.0.1"


def run(work: Work, observer: Observer | None = None) -> str | None:
    """Compute all blocks to do on this machine.

    Which blocks are finished is read off their records afterwards, not off this call.

    Args:
        work: what is to do; `schedule.workers` of its configuration says how many processes do it, 0: this one.
        observer: told of progress.

    Returns:
        What daisy says of workers that died; None if none did.
    """
    run_part = _run_in_processes if work.job.config.schedule.workers else _run_here
    errors = []
    for part in parts_of(work):
        errors.append(run_part(part, observer))
    return "\n".join(error for error in errors if error) or None


def _run_here(work: Work, observer: Observer | None) -> str | None:
    """Compute block after block in this thread."""
    runners: dict[str, BlockRunner] = {}
    tally = Tally(work, observer)

    def hands(name: str) -> Hands:
        def compute(block: Any) -> None:
            if name not in runners:
                runners[name] = BlockRunner(work.job, name, work.spec.run)
            tally.begun(name)
            done = runners[name].run(index_of(runners[name].task, block, work.listed.get(name)))
            tally.ended(name, done)
            if not done:
                mark_failed(block)

        return Hands(compute, work.workers_of(name))

    try:
        states, _ = run_serially(pipeline_of(work, {name: hands(name) for name in work.todo}), block_tracking=False)
    finally:
        for runner in runners.values():
            runner.close()
    if observer is not None:
        observer.update(counts_of(states, work.todo))
    return worker_errors(states)


def _run_in_processes(work: Work, observer: Observer | None) -> str | None:
    """Hand out blocks to worker processes, which daisy asks for as they are needed."""
    stages = [stage_of(work.job.plan.tasks[name]) for name in work.todo]
    fork = fork_server(modules_of(stages, work.job.config))  # here, so that it does not write where daisy does
    alive = Workers()
    with _places() as places:
        spawner = _Spawner(work, fork, alive, places)
        hands = {name: Hands(spawner.of(name), work.workers_of(name)) for name in work.todo}
        pipeline = pipeline_of(work, hands)
        watcher = Watcher(work.todo, observer.update) if observer else None
        with native_output_to(work.job.output.logs / "daisy.log"):
            states = serve_interruptibly(partial(serve, pipeline, watcher, LOCALHOST), alive)
    return worker_errors(states)


@contextmanager
def _places() -> Iterator[str]:
    """Path of the file that `Slots` needs; without a name on Linux, so that it goes with this process."""
    if sys.platform == "linux":
        with tempfile.TemporaryFile() as file:
            yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
    else:
        with tempfile.TemporaryDirectory(prefix="fgnet-") as folder:
            yield str(Path(folder) / "slots")


@dataclass(frozen=True)
class _Orders:
    """What a worker process is told.

    Attributes:
        spec: the job and the number of the run.
        name: the task whose blocks it computes.
        number: of the worker among those of the task; chooses its GPU.
        context: where daisy's server listens, in daisy's words.
        places: path of the file of places that workers share; None if the stage has a number of workers of its own.
        count: how many places.
        listed: the blocks that daisy counts, if it was given a list.
        progress: the folder of records of the output.
    """

    spec: WorkerSpec
    name: str
    number: int
    context: str
    places: str | None
    count: int
    listed: list[Vector] | None
    progress: Path


class _Spawner:
    """Starts the workers of a run. Daisy calls it from threads of its own."""

    def __init__(self, work: Work, fork: BaseContext, alive: Workers, places: str) -> None:
        self._work, self._fork, self._alive, self._places = work, fork, alive, places
        self._lock = threading.Lock()
        self._started = dict.fromkeys(work.todo, 0)

    def of(self, name: str) -> Callable[..., None]:
        """The function that starts a worker of a task and waits for its end.

        Raises:
            RuntimeError: in the function: the worker ended badly.
        """

        def spawn(*, context: Any) -> None:  # daisy passes its context to this name
            if self._alive.stopping:
                return
            with self._lock:
                orders = self._orders(name, context.to_env())
                process = self._fork.Process(target=work_on_blocks, args=(orders,), daemon=False)  # type: ignore[attr-defined]
                process.start()
            # Threads that poll or join the same fork server at once can take each other's exit status: wait on the
            # sentinel, which is this process's own, and collect the status alone.
            with self._alive.watched(process):
                connection.wait([process.sentinel])
            with self._lock:
                process.join()
            if process.exitcode != 0 and not self._alive.stopping:
                code = process.exitcode
                if self._is_refused(orders):
                    self._alive.end()
                    return
                raise RuntimeError(
                    f"a worker of {name} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
                )

        return spawn

    def _is_refused(self, orders: _Orders) -> bool:
        """Whether a worker could not begin, as all others of its task could not.

        One that replaces a dead worker is replaced again: others of its task work, so what keeps it off may pass.
        """
        first = orders.number < self._work.workers_of(orders.name)
        return first and self._work.job.output.progress.refusal(orders.name) is not None

    def _orders(self, name: str, context: str) -> _Orders:
        schedule, work = self._work.job.config.schedule, self._work
        number = self._started[name]
        self._started[name] += 1
        has_own = schedule.of(stage_of(work.job.plan.tasks[name]).schedule).workers is not None
        places = None if has_own else self._places
        listed, progress = work.listed.get(name), work.job.output.progress.root
        return _Orders(work.spec, name, number, context, places, schedule.workers, listed, progress)


def work_on_blocks(orders: _Orders) -> None:
    """Body of a worker process: take blocks from the daisy server until there are none left."""
    _end_with_parent()
    obey_driver()
    connect_to(orders.context)
    with refusals_noted(orders.progress, orders.name, orders.spec.run):
        _work_on_blocks(orders)


def _work_on_blocks(orders: _Orders) -> None:
    job, name = orders.spec.open_job(), orders.name
    with logging_to(job.output.logs, name) as log:
        options: dict[str, Any] = {}
        if orders.places is not None:
            options["slot"] = Slots(orders.places, orders.count).hold
        with BlockRunner(job, name, orders.spec.run, orders.number, log, **options) as runner:
            take = partial(take_blocks, runner, listed=orders.listed)
            flushed(partial(serve_in_lanes, take, runner.lanes), runner.close)


def _end_with_parent() -> None:
    """Have the kernel end this worker when the fork server ends, which it does with the driver (Linux only)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
