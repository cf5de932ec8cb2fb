"""The process that workers are forked from (`multiprocessing` forkserver): it has imported everything once.

Importing takes the process a second or two of CPU. If it is known early that there will be workers, the process starts
before the driver itself imports what it needs, so that both import at the same time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.toml_file import read_toml
from fgnet_pipeline.execution.processes.socket_folder import settle_socket_folder
from fgnet_pipeline.kernels.compiled import was_compiled

PRELOADED = [
    "fgnet_pipeline.execution.local_workers",
    "fgnet_pipeline.commands.cli",
    "fgnet_pipeline.execution.processes.preload_stages",
]
#: The module that loads the kernels of a run from affinities on.
KERNELS = "fgnet_pipeline.execution.processes.preload"
#: Modules that load kernels, and a file of kernels whose compiled code tells whether they were compiled before.
COMPILING = {KERNELS: "fragments/flood.py", "fgnet_pipeline.execution.processes.preload_predict": "cpu_steps.py"}


def fork_server(modules: Iterable[str] = ()) -> BaseContext:
    """Start the server whose processes have everything loaded that workers need, and return at once.

    The server imports while the driver does. The first call, `start_early` included, settles what is loaded.
    Loading opens no connection and starts no thread: each process makes its own event loop at its first request.

    Args:
        modules: names of further modules to load, for example for single stages.

    Returns:
        The context that starts such processes.
    """
    compiles(COMPILING)  # before the server compiles
    return server_with([*PRELOADED, *modules])


def compiles(modules: Iterable[str]) -> bool:
    """Whether some of these modules had to compile kernels when this process first asked or started the server."""
    return not all([was_compiled(COMPILING[module]) for module in modules if module in COMPILING])


def server_with(modules: list[str]) -> BaseContext:
    """The context whose processes are forked with `modules` loaded, and do not hear of Ctrl-C.

    Raises:
        InputError: no folder is fit for sockets.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settle_socket_folder()
    context = WorkerContext()
    context.set_forkserver_preload(modules)
    with _interrupts_blocked():
        forkserver.ensure_running()
    return context


class _WorkerProcess(ForkServerProcess):
    """A worker, which does not run the script of its driver.

    Python would import the driver's main module in every process, for functions that are defined there. Ours are not.
    A script without a guard `if __name__ == "__main__"` would start over in every worker.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 (the name that multiprocessing calls)
        with _main_module_hidden():
            return ForkServerProcess._Popen(process_obj)  # type: ignore[attr-defined]


class WorkerContext(ForkServerContext):
    """The context of `multiprocessing` whose processes are workers."""

    Process = _WorkerProcess  # type: ignore[assignment]


#: Threads of daisy start workers side by side, and the main module has one name and one path.
_hiding = threading.Lock()


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Take away what `multiprocessing.spawn.get_preparation_data` reads of the main module: its path and its name."""
    main, hidden = sys.modules["__main__"], {}
    with _hiding:
        for name in ("__file__", "__spec__"):
            if hasattr(main, name):
                hidden[name] = getattr(main, name)
                setattr(main, name, None)
        try:
            yield
        finally:
            for name, value in hidden.items():
                setattr(main, name, value)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started meanwhile and from those forked from them; this one hears it later.

    A terminal sends Ctrl-C to all of them, and each would print a traceback until it is told what to do.
    """
    resource_tracker.ensure_running()  # which would unblock them
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def start_early(file: Path, overrides: Iterable[str]) -> None:
    """Start the server with the kernels from affinities on and return at once, if workers will be forked.

    The unchecked file says whether there will be workers: the code that checks it takes a fifth of a second to import.
    A wrong guess costs a process that ends with this one, or a later start.

    Args:
        file: the configuration.
        overrides: of the command line, as `section.key=value`.
    """
    if _will_fork(file, overrides):
        fork_server([KERNELS])


def _will_fork(file: Path, overrides: Iterable[str]) -> bool:
    try:
        tables = read_toml(file)
        settings = {f"{name}.{key}": str(value) for name, table in tables.items() for key, value in table.items()}
    except (InputError, AttributeError):
        return False  # the check will say what is wrong
    settings |= dict(override.partition("=")[::2] for override in overrides)
    local = settings.get("schedule.backend", "local") == "local" and "://" not in settings.get("output.path", "")
    return local and settings.get("schedule.workers") != "0"
