"""Ctrl-C: workers end soon after the driver is interrupted, none is left behind, and nothing is printed about each.

A worker takes no notice of an interrupt (a terminal sends it to all processes). The driver asks its workers to end;
they flush the records of finished blocks first. Those that are busy in native code for longer are killed. Daisy would
answer the interrupt itself, with a warning and a traceback a worker, so its handler is replaced.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TypeVar

#: How long (s) a worker may take to flush its records.
PATIENCE = 3.0
#: How often (s) the driver looks whether it was interrupted.
POLL = 0.2
Result = TypeVar("Result")


class Workers:
    """The worker processes of a driver; ``stopping`` once it was interrupted."""

    def __init__(self) -> None:
        self.stopping = False
        self._alive: set[BaseProcess] = set()

    @contextmanager
    def watched(self, process: BaseProcess) -> Iterator[None]:
        """Count ``process`` among the workers for the block of the ``with``."""
        self._alive.add(process)
        try:
            if self.stopping:
                _send([process], signal.SIGTERM)
            yield
        finally:
            self._alive.discard(process)

    def end(self) -> None:
        """Ask all workers to end, and kill those that do not."""
        self.stopping = True
        workers = list(self._alive)
        _send(workers, signal.SIGTERM)
        give_up = time.monotonic() + PATIENCE
        for worker in workers:
            connection.wait([worker.sentinel], max(0.0, give_up - time.monotonic()))
        _send([worker for worker in workers if worker in self._alive], signal.SIGKILL)


def serve_interruptibly(serve: Callable[[], Result], workers: Workers) -> Result:
    """Run ``serve`` beside this thread, which alone is told of signals: an interrupt ends ``workers``.

    Raises:
        KeyboardInterrupt: an interrupt came; ``serve`` is left to itself.
    """
    if threading.current_thread() is not threading.main_thread():
        return serve()
    future: Future[Result] = Future()

    def body() -> None:
        try:
            future.set_result(serve())
        except BaseException as error:
            future.set_exception(error)

    interrupted = threading.Event()
    former = signal.getsignal(signal.SIGINT)
    try:
        threading.Thread(target=body, daemon=True).start()
        while not wait([future], POLL).done:
            # Again and again: daisy puts a handler of its own in place when its server starts.
            signal.signal(signal.SIGINT, lambda *_: interrupted.set())
            if interrupted.is_set():
                _silence_native_code()
                workers.end()
                raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, former)
    return future.result()


def _silence_native_code() -> None:
    """Let nothing but Python write to the terminal any more: daisy would warn of every worker that ends."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            if stream.fileno() == number:
                setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _send(workers: Iterable[BaseProcess], number: signal.Signals) -> None:
    for worker in workers:
        if worker.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)


class Terminated(BaseException):
    """Raised in a worker's main thread when it is asked to end."""


def obey_driver() -> None:
    """In a worker: leave interrupts to the driver, and end when it asks."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)


@contextmanager
def ending_at_once(flush: Callable[[], None]) -> Iterator[None]:
    """Where the driver asks this worker to end: flush, and be gone without waiting for other threads."""
    try:
        yield
    except Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(Exception):
            flush()
        os._exit(128 + signal.SIGTERM)
