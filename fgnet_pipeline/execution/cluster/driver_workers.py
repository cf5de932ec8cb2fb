"""Workers on the nodes of a cluster that take blocks from a driver: the driver's side, and the body of a worker.

The driver listens with daisy's server. Tasks run one after the other, each with its own workers, so that no worker
waits on its node for blocks that others have yet to make.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.errors import InputError, PipelineError, StoppedError
from fgnet_pipeline.core.signals import stop_on_signal
from fgnet_pipeline.execution.block_runner import BlockRunner, refusals_noted
from fgnet_pipeline.execution.cluster.interface import Cluster, ClusterError, JobArray, Request
from fgnet_pipeline.execution.cluster.lookup import cluster_of
from fgnet_pipeline.execution.cluster.submission import Submission, path_of, read_submission
from fgnet_pipeline.execution.cluster.worker_pool import Elements
from fgnet_pipeline.execution.daisy_tasks import (
    MAX_WORKER_RESTARTS,
    Hands,
    Watcher,
    connect_to,
    pipeline_of,
    serve,
    take_blocks,
)
from fgnet_pipeline.execution.processes.interrupt import native_output_to
from fgnet_pipeline.execution.processes.lanes import serve_in_lanes
from fgnet_pipeline.execution.resume import left
from fgnet_pipeline.execution.submitted_jobs import SubmittedJob, record_job, submitted_jobs
from fgnet_pipeline.execution.work import Counts, Observer, Work
from fgnet_pipeline.stages.registry import stage_of
from fgnet_pipeline.store.atomic_files import write_private

#: How long (s) a worker on a node waits for the driver to answer.
REACH_SECONDS = 30.0
#: How many earlier runs are searched for workers that are still in the queue.
LEFTOVER_RUNS = 10
#: How often (s) the driver looks whether it was told to stop.
POLL_SECONDS = 0.2


def run(work: Work, observer: Observer | None = None) -> str | None:
    """Compute all blocks to do with workers on the nodes, task after task.

    Args:
        work: what is to do.
        observer: told of progress.

    Returns:
        What went wrong with workers; None if nothing did. A task that is not finished is the last.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came; the workers have been cancelled.
    """
    cluster = cluster_of(work.job.config)
    _cancel_leftovers(cluster, work)
    Submission(work.spec, {}).write(work.job.output.progress.root)
    work.job.output.logs.mkdir(parents=True, exist_ok=True)
    for name in work.todo:
        trouble = _TaskOnCluster(cluster, work, name).run(observer)
        if trouble is not None or left(work.job, name).todo.any():
            return trouble
    return None


def _cancel_leftovers(cluster: Cluster, work: Work) -> None:
    """Cancel workers that an earlier driver left in the queue: they have nobody to talk to."""
    progress = work.job.output.progress.root
    for run in range(max(1, work.spec.run - LEFTOVER_RUNS), work.spec.run):
        cluster.cancel([job.job for job in submitted_jobs(progress, run) if job.server])


class _TaskOnCluster:
    """One task, its server and its workers."""

    def __init__(self, cluster: Cluster, work: Work, name: str) -> None:
        self._cluster, self._work, self._name = cluster, work, name
        self._progress = work.job.output.progress.root.absolute()
        self._connect = self._progress / f"connect-{work.spec.run}-{name}"
        self._failure: str | None = None
        self._elements = Elements(cluster, self._array, work.workers_of(name), MAX_WORKER_RESTARTS, self._record)

    def run(self, observer: Observer | None) -> str | None:
        """Serve blocks until none is left; returns why the workers were given up, or None."""
        # One of daisy's workers stands for all elements: they share its context, and blocks of one that dies come back.
        one = Work(self._work.job, self._work.spec, {self._name: self._work.todo[self._name]})
        pipeline = pipeline_of(one, {self._name: Hands(self._employ, workers=1, restarts=0)})
        watcher = Watcher([self._name], *([observer.update] if observer else []), self._tell)
        with native_output_to(self._work.job.output.logs / "daisy.log"):
            _in_thread(lambda: serve(pipeline, watcher, self._cluster.host or ""), self._elements.stop)
        return self._failure

    def _employ(self, *, context: Any) -> None:
        """Have elements compute the blocks; daisy calls this to start its one worker, and passes where it listens."""
        write_private(self._connect, context.to_env())
        try:
            self._elements.run()
        except ClusterError as error:
            self._failure = f"{self._name}: {error}"
            raise
        finally:
            self._connect.unlink(missing_ok=True)

    def _tell(self, counts: dict[str, Counts]) -> None:
        for count in counts.values():
            self._elements.progress(count.done, count.left)

    def _array(self, count: int, more: bool) -> JobArray:
        run, name = self._work.spec.run, self._name
        submission = str(path_of(self._progress, run))
        request = Request(
            stage=stage_of(self._work.job.plan.tasks[name]).schedule,
            name=f"fgnet-{name}",
            elements=count,
            logs=self._work.job.output.logs.absolute(),
            words=("worker", submission, "--task", name, "--connect", str(self._connect)),
            comment=f"{name}: workers that take blocks from the driver on {self._cluster.host}",
            more=more,
        )
        return self._cluster.build(request)

    def _record(self, job: str, array: JobArray) -> None:
        record_job(self._progress, self._work.spec.run, SubmittedJob(self._name, job, array.elements, 0, server=True))


def _in_thread(body: Callable[[], object], stop: Callable[[], None]) -> None:
    """Run `body` beside this thread, which alone can be told of signals: SIGINT and SIGTERM call `stop`."""
    thread = threading.Thread(target=body, daemon=True)
    with stop_on_signal(signal.SIGTERM, signal.SIGINT) as stopped:
        thread.start()
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            if stopped.is_set():
                stop()
    if stopped.is_set():
        raise KeyboardInterrupt


def serve_driver(submission: Path, name: str, connect: Path) -> int:
    """Body of a worker on a node: take blocks from the driver until there are none left.

    Args:
        submission: file of the submission, for what the worker is told.
        name: of the task.
        connect: file that says where the driver listens.

    Returns:
        How many blocks it computed.

    Raises:
        InputError: The submission has no such task.
        PipelineError: The driver cannot be reached, or has gone.
        StoppedError: SIGTERM came first.
    """
    spec = read_submission(submission).spec
    if name not in {task.name for task in spec.tasks}:
        raise InputError("--task", name, "a task of the submission", "see the script that submitted this")
    noted = partial(refusals_noted, submission.parent, name, spec.run)
    with noted():
        job = spec.open_job()
    cluster = cluster_of(job.config)
    _reach(connect, cluster.host_key)
    gone: list[RuntimeError] = []

    def take() -> None:
        try:
            take_blocks(runner, stop)
        except RuntimeError as error:  # daisy's word for a server that no longer answers
            gone.append(error)

    number, log = cluster.own_number() or 0, cluster.own_log(job.output.logs)
    with stop_on_signal() as stop, noted(), BlockRunner(job, name, spec.run, number, log) as runner:
        serve_in_lanes(take, runner.lanes)
        computed = runner.computed
    if gone:
        raise PipelineError(f"{name}: the driver has gone ({gone[0]}); {computed} blocks are recorded") from gone[0]
    if stop.is_set():
        raise StoppedError(f"{name}: stopped by SIGTERM after {computed} blocks")
    return computed


def _reach(connect: Path, host_key: str) -> None:
    """See that the driver answers at the place that `connect` names, and have daisy's client talk to it."""
    try:
        host, port = connect_to(connect.read_text())
    except (OSError, KeyError, ValueError) as error:
        raise PipelineError(f"the driver of {connect} has ended ({error}); nothing is left to do for it") from error
    try:
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise PipelineError(
            f"the driver cannot be reached from {socket.gethostname()} at {host} port {port} ({error}): see that it "
            f"runs, and that {host_key} is an address that compute nodes can connect to"
        ) from error
