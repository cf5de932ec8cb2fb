"""One worker: takes blocks of one task, computes them, and records what it did.

The same `BlockRunner` serves every way of running: serially in the driver, in worker processes on this machine,
and on the nodes of a cluster.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from fgnet_pipeline.core.errors import InputError, WorkerLostError
from fgnet_pipeline.core.geometry import Box, Vector
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import attach_known_keys, stage_of
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.records.progress import Progress
from fgnet_pipeline.store.records.record import Record
from fgnet_pipeline.store.records.writer import RecordWriter

#: How much of a traceback the record of a failure keeps.
TRACEBACK_CHARACTERS = 4000


class SupersededError(Exception):
    """Another driver has taken over this output, and will compute the block."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is told.

    Attributes:
        config: the resolved configuration.
        roi: the region of interest in voxels.
        tasks: of the plan.
        run: number of the driver's run.
        purpose: `purpose` of the driver's job. If it is not empty, `opener` names the function that makes this job of
            the opened one, as `"module:function"`, with the arguments (job, purpose).
    """

    config: dict[str, Any]
    roi: Box
    tasks: tuple[Task, ...]
    run: int
    purpose: Mapping[str, Any] = field(default_factory=dict)

    def open_job(self) -> Job:
        """Open the job with the plan of the driver.

        Raises:
            InputError: an input or the output cannot be opened any more.
        """
        config = validate(self.config)
        use_threads(config.schedule.threads)
        job = open_job(config, only_reads=True)
        job.plan = Plan(self.roi, self.tasks, job.mask)
        if self.purpose:
            open_for: Callable[[Job, Mapping[str, Any]], Job] = resolve_name(self.purpose["opener"])
            return open_for(job, self.purpose)
        attach_known_keys(job)
        return job


class BlockRunner:
    """Computes blocks of one task and records them.

    Args:
        job: with its plan.
        name: the task.
        number: of the driver's run; once another driver announces itself, nothing more is written.
        worker: number of this worker, which chooses its GPU.
        log: file that holds the details of a failure.
        slot: context manager held while a block is worked on, to share the machine with other stages.
        label: begins the names of this worker's record files.

    Attributes:
        computed: how many blocks it has finished.
        lanes: how many blocks it can usefully be given at a time.
    """

    def __init__(
        self,
        job: Job,
        name: str,
        number: int,
        worker: int = 0,
        log: str = "",
        slot: Callable[[], AbstractContextManager[Any]] = nullcontext,
        label: str = "",
    ) -> None:
        self.job, self.name, self.number, self.slot = job, name, number, slot
        self.task = job.plan.tasks[name]
        stage = stage_of(self.task)
        self.stage = stage.open(job, self.task, worker)
        self.lanes: int = getattr(self.stage, "lanes", stage.lanes)
        self.records = RecordWriter(job.output.progress.root, name, log, label)
        self.computed = 0
        self._computing, self._counting = threading.Lock(), threading.Lock()

    def run(self, index: Vector) -> bool:
        """Compute the block at `index` of the grid; False if it failed, which is then recorded with its traceback.

        Raises:
            WorkerLostError: it failed, and so would every further block in this process.
        """
        try:
            with self.slot():
                self._run(index)
        except SupersededError:
            return False
        except Exception as error:
            text = traceback.format_exc()
            with suppress(OSError):  # the log of a worker, on a disk that may be full
                sys.stderr.write(f"{self.name} block {list(index)} failed:\n{text}\n")
                sys.stderr.flush()
            self.records.fail(self.name, index, text[-TRACEBACK_CHARACTERS:])
            if isinstance(error, WorkerLostError):
                raise
            return False
        return True

    def run_or_end(self, index: Vector) -> bool:
        """As `run`, in a process that is this worker alone: it ends if it can compute nothing more.

        It ends before the block is given back. So another process gets all blocks of its lanes, as after a kill; a
        block that was given back would come to another lane of this process, and fail again.
        """
        try:
            return self.run(index)
        except WorkerLostError:
            with suppress(OSError):
                self.records.flush()
            os._exit(1)

    def _run(self, index: Vector) -> None:
        started = time.perf_counter()
        block = self.job.plan.block(self.name, index)
        loaded = self.stage.load(block)
        loaded_at = time.perf_counter()
        with self._computing:
            waited = time.perf_counter() - loaded_at  # until another lane has computed its block
            computed = self.stage.compute(block, loaded)
        if self.is_superseded():
            raise SupersededError
        outcome = self.stage.store(block, computed)
        if self.is_superseded():
            # The newer run may have written this block meanwhile, and whose voxels are stored is unknown.
            self.job.output.progress.withdraw(self.name, [index], self.job.output.progress.driver() or 0, time.time())
            raise SupersededError
        record = Record(
            stage=self.name,
            block=index,
            read=block.read.to_list(),
            key=block.key,
            inputs=block.inputs,
            checksum=outcome.checksum,
            nonzero=outcome.nonzero,
            voxels=outcome.voxels,
            seconds=round(time.perf_counter() - started - waited, 6),
            finished=time.time(),
            host=socket.gethostname(),
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            run=self.number,
        )
        self.records.add(record, outcome.files)
        with self._counting:
            self.computed += 1

    def is_superseded(self) -> bool:
        """Whether a newer driver has begun. This worker then writes nothing more."""
        return self.job.output.progress.driver() != self.number

    def close(self) -> None:
        """Flush the last records."""
        self.records.close()

    def __enter__(self) -> BlockRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def refusals_noted(progress: Path, name: str, run: int) -> Iterator[None]:
    """Note an `InputError` for the driver: a worker that opens the job or its stage cannot begin.

    Args:
        progress: the folder of records of the output.
        name: the task.
        run: number of the driver's run.
    """
    try:
        yield
    except InputError as error:
        Progress(progress).refuse(name, run, error)
        raise


@contextmanager
def logging_to(folder: Path, name: str) -> Iterator[str]:
    """Send this process's standard output and error to a log file of its own; yields the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{socket.gethostname()}-{os.getpid()}.log"
    with path.open("ab", buffering=0) as stream:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        yield str(path)
