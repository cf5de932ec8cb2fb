"""The process that workers are forked from (``multiprocessing`` forkserver): it has imported everything once.

Importing takes it a second or two of CPU. Where it is known early that there will be workers, it starts before the
driver itself imports what it needs, so that the two do it side by side.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

PRELOADED = ["fgnet_pipeline.schedule", "fgnet_pipeline.cli", "fgnet_pipeline.preload"]
PRELOADED_FOR = {"predict": ["torch", "fgnet_pipeline.stages.predict", "fgnet.predictor"]}


def fork_server(names: Iterable[str], packages: Sequence[str] = ()) -> BaseContext:
    """The context whose processes are forked with everything loaded that the tasks ``names`` need, and ``packages``.

    Loading opens no connection and starts no thread: each process makes its own event loop at its first request.
    What is loaded is settled when the server starts, which is with the first process or :func:`start_early`.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED + [m for n in names for m in PRELOADED_FOR.get(n, [])] + [*packages])
    return context


def start_early() -> None:
    """Start the server, without what only prediction needs, and come back at once."""
    fork_server([])
    forkserver.ensure_running()
