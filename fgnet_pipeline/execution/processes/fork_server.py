"""The process that workers are forked from (``multiprocessing`` forkserver): it has imported everything once.

Importing takes it a second or two of CPU. Where it is known early that there will be workers, it starts before the
driver itself imports what it needs, so that the two do it side by side.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Protocol

PRELOADED = [
    "fgnet_pipeline.execution.local_workers",
    "fgnet_pipeline.commands.cli",
    "fgnet_pipeline.execution.processes.preload",
]


class Preloads(Protocol):
    """What is asked of a stage (``stages.stage.Stage``)."""

    @property
    def preload(self) -> tuple[str, ...]: ...


def fork_server(stages: Iterable[Preloads], packages: Sequence[str] = ()) -> BaseContext:
    """The context whose processes are forked with everything loaded that ``stages`` need, and ``packages``.

    Starts the server and comes back at once: it imports while the driver does. The first call, :func:`start_early`
    included, settles what is loaded. Loading opens no connection and starts no thread: each process makes its own event
    loop at its first request.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return server_with(PRELOADED + [module for stage in stages for module in stage.preload] + [*packages])


def server_with(modules: list[str]) -> BaseContext:
    """The context whose processes are forked with ``modules`` loaded, and deaf to Ctrl-C."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(modules)
    with _interrupts_blocked():
        forkserver.ensure_running()
    return context


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that is started meanwhile never hears of Ctrl-C, nor do those forked from it; this one does, later.

    A terminal sends it to all of them, and until they are told what to do each would print a traceback.
    """
    resource_tracker.ensure_running()  # which would unblock them
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def start_early(file: Path, overrides: Iterable[str]) -> None:
    """Start the server, without what only prediction needs, and come back at once; nothing where none will be needed.

    Whether it will be is looked up in the unchecked file: what checks it takes a fifth of a second to import. A wrong
    guess costs a process that ends with this one, or a start that is later.
    """
    if _will_fork(file, overrides):
        fork_server([])


def _will_fork(file: Path, overrides: Iterable[str]) -> bool:
    try:
        tables = tomllib.loads(file.read_text())
        settings = {f"{name}.{key}": str(value) for name, table in tables.items() for key, value in table.items()}
    except (OSError, ValueError, AttributeError):
        return False  # the check will say what is wrong
    settings |= dict(override.partition("=")[::2] for override in overrides)
    local = settings.get("schedule.backend", "local") == "local" and "://" not in settings.get("output.path", "")
    return local and settings.get("schedule.workers") != "0"
