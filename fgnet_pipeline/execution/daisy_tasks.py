"""Work as daisy tasks: the words of daisy, for workers on this machine and on the nodes of a cluster.

Every task becomes a daisy task over voxels with block-level dependencies, so a block starts as soon as the blocks that
it reads are finished. Daisy's server asks for workers, hands out blocks and notices workers that end.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import daisy.v2 as daisy
import numpy as np
import numpy.typing as npt
from daisy import _daisy

from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.core.signals import Stop
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.execution.block_runner import BlockRunner
from fgnet_pipeline.execution.resume import blocks_where, ready
from fgnet_pipeline.execution.work import Counts, Work

#: Daisy's own function for a pipeline of block functions: it runs the pipeline in this thread, and returns the states
#: by task, then something that is not needed.
run_serially: Callable[..., Any] = _daisy._run_serial
#: Replacements of dead workers before a task is abandoned: enough for a rough night, few enough to end on a bug.
MAX_WORKER_RESTARTS = 20
#: If more blocks than this are done, and this many times as many as are left, daisy is given the latter as a list.
MANY_SKIPPED, SPARSE = 5000, 50


def parts_of(work: Work) -> Iterator[Work]:
    """Divide work into parts that are run one after the other.

    Usually the work is one part. If so little is left that passing over what is done would take longer (daisy needs
    0.3 ms per block, skipped or not), every task is one part with a list of blocks. Blocks whose inputs failed are left
    out, as daisy would.
    """
    few = sum(int(mask.sum()) for mask in work.todo.values())
    skipped = sum(mask.size for mask in work.todo.values()) - few
    if skipped <= MANY_SKIPPED or few * SPARSE >= skipped:
        yield work
        return
    for name, todo in work.todo.items():
        chosen = ready(work.job, name, todo)
        if chosen.any():
            yield Work(work.job, work.spec, {name: todo}, {name: list(blocks_where(work.job, name, chosen))})


@dataclass(frozen=True)
class Hands:
    """Who computes the blocks of one task.

    Attributes:
        function: a block function of one argument, or a function without positional arguments that starts a worker.
        workers: how many daisy asks for at once.
        restarts: how many workers that ended badly daisy replaces.
    """

    function: Callable[..., Any]
    workers: int
    restarts: int = MAX_WORKER_RESTARTS


def pipeline_of(work: Work, hands: Mapping[str, Hands]) -> Any:
    """The daisy pipeline of work; `hands` by name of the task."""
    tasks: list[Any] = [_daisy_task(work, name, hands[name]) for name in work.todo]
    # One chain: what a task reads of tasks further up is finished before what it reads of the last.
    return daisy.Pipeline(tasks, list(itertools.pairwise(tasks)))


def _daisy_task(work: Work, name: str, hands: Hands) -> daisy.Task:
    task, schedule = work.job.plan.tasks[name], work.job.config.schedule
    blocks, shape = work.job.plan.blocks(name), task.grid.block_shape
    # Daisy 2.0.0 hands out blocks again and again if the context differs between the sides: give it the larger one.
    context = np.maximum(task.below, task.above).tolist()
    skipped: npt.NDArray[np.bool_] | None = ~work.todo[name]
    if name in work.listed:
        number = len(work.listed[name])
        blocks, shape, context, skipped = Box((0, 0, 0), (number, 1, 1)), (1, 1, 1), [0, 0, 0], None
    write = daisy.Roi((0, 0, 0), shape)
    total = daisy.Roi(np.multiply(blocks.begin, shape).tolist(), np.multiply(blocks.shape, shape).tolist())
    return daisy.Task(
        name,
        total.grow(context, context),
        write.grow(context, context),
        write,
        process_function=hands.function,
        read_write_conflict=False,
        fit="valid",
        max_workers=hands.workers,
        max_retries=schedule.retries,
        timeout=schedule.block_timeout,
        max_worker_restarts=hands.restarts,
        skip_mask=skipped,
        tracking_path=False,
    )


def serve(pipeline: Any, watcher: Watcher | None, host: str) -> Any:
    """Hand out the blocks of a pipeline until none is left; returns daisy's states by task.

    Args:
        pipeline: its functions start workers.
        watcher: told of progress.
        host: address to listen at.
    """
    # Without the shim that starts a fresh interpreter per worker; `daisy.Server` adds nothing else.
    states, _ = _daisy._run_distributed_server(pipeline, None, watcher, host=host, block_tracking=False)
    return states


def connect_to(context: str) -> tuple[str, int]:
    """Have this process's clients talk to the server that `context` describes; returns its host and port.

    Raises:
        KeyError, ValueError: the text describes no server.
    """
    os.environ[daisy.Context.ENV_VARIABLE] = context
    found = daisy.Context.from_env()
    return found["hostname"], int(found["port"])


def take_blocks(runner: BlockRunner, stop: Stop | None = None, listed: list[Vector] | None = None) -> None:
    """Compute blocks of the server that this process talks to, until there are none left or `stop` is set.

    Args:
        runner: computes them.
        stop: checked before every block.
        listed: the blocks that the server counts, if it was given a list.

    Raises:
        RuntimeError: the server no longer answers.
    """
    client = daisy.Client()
    while stop is None or not stop.is_set():
        with client.acquire_block() as block:
            if block is None:
                return
            if not runner.run_or_end(index_of(runner.task, block, listed)):
                mark_failed(block)


def mark_failed(block: Any) -> None:
    """Tell daisy that a block failed; it then tries the block again, or leaves out the blocks that need it."""
    block.status = daisy.BlockStatus.FAILED


def index_of(task: Task, block: Any, listed: list[Vector] | None) -> Vector:
    """The index in `task`'s grid of one of daisy's blocks, which may be a place in a list of blocks."""
    if listed is not None:
        return listed[int(block.write_roi.begin[0])]
    return vector(np.floor_divide(block.write_roi.begin, task.grid.block_shape))


class Watcher:
    """Daisy's observer, which tells others how many blocks each task has finished.

    Args:
        names: of the tasks, in the order in which they are told.
        told: functions that take the counts by task.
    """

    def __init__(self, names: Iterable[str], *told: Callable[[dict[str, Counts]], None]) -> None:
        self._names, self._told = tuple(names), told

    def on_start(self, states: Any) -> None:
        """Called by daisy at the start, at most a few times per second, and at the end."""
        counts = counts_of(states, self._names)
        for tell in self._told:
            tell(counts)

    on_progress = on_finish = on_start


def counts_of(states: Any, names: Iterable[str]) -> dict[str, Counts]:
    """Daisy's states as counts by task, in the order of `names`: daisy itself keeps no order."""
    return {
        name: Counts(
            int(s.total_block_count),
            int(s.completed_count),
            int(s.failed_count),
            int(s.processing_count),
            not_begun=int(s.orphaned_count),  # daisy's word for blocks whose upstream failed
        )
        for name in names
        if (s := states.get(name)) is not None
    }


def worker_errors(states: Any) -> str | None:
    """One line per task whose workers died or that was abandoned; None if there is none."""
    # The last line of a traceback says what happened, and the worker's log has the rest.
    errors = {name: s.first_worker_error.strip().splitlines() for name, s in states.items() if s.first_worker_error}
    found = [f"{name}: {lines[-1]}" for name, lines in errors.items()]
    found += [f"{name}: {s.abandon_reason}" for name, s in states.items() if s.abandoned and s.abandon_reason]
    return "\n".join(found) or None
