"""Ctrl-C: workers end soon after the driver is interrupted, none is left behind, and nothing is printed about each.

A worker takes no notice of an interrupt (a terminal sends it to all processes). The driver asks its workers to end;
they flush the records of finished blocks first. Those that are busy in native code for longer are killed. Daisy would
answer the interrupt itself, with a warning and a traceback per worker, so its handler is replaced.
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
from pathlib import Path
from typing import TextIO, TypeVar

from fgnet_pipeline.core.signals import Stop
from fgnet_pipeline.execution.processes.standard_streams import lenient, open_closed

#: How long (s) a worker may take to flush its records, and daisy's server to end once its workers have.
PATIENCE = 3.0
#: How often (s) the driver looks whether it was interrupted.
POLL = 0.05
Result = TypeVar("Result")


class Workers:
    """The worker processes of a driver.

    Attributes:
        stopping: whether the driver was interrupted, or ended the workers for another reason.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._alive: set[BaseProcess] = set()

    @contextmanager
    def watched(self, process: BaseProcess) -> Iterator[None]:
        """Count `process` among the workers for the block of the `with`."""
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
    """Run a function in another thread, while this thread waits for signals: an interrupt ends the workers.

    A process that ignores interrupts still ignores them, for example one that a script runs in the background.

    Args:
        serve: called once.
        workers: ended by an interrupt.

    Returns:
        What `serve` returns.

    Raises:
        KeyboardInterrupt: An interrupt came; `serve` is left to itself if it does not end soon.
    """
    if threading.current_thread() is not threading.main_thread():
        return serve()
    future: Future[Result] = Future()

    def body() -> None:
        try:
            future.set_result(serve())
        except BaseException as error:
            future.set_exception(error)

    interrupted = Stop()
    former = signal.getsignal(signal.SIGINT)
    try:
        threading.Thread(target=body, daemon=True).start()
        while not wait([future], POLL).done:
            # Again and again: daisy puts a handler of its own in place when its server starts.
            signal.signal(signal.SIGINT, former if former is signal.SIG_IGN else lambda *_: interrupted.set())
            if interrupted.is_set():
                workers.end()
                wait([future], PATIENCE)  # it ends by itself then; a thread that outlives Python aborts the process
                raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, former)
    return future.result()


@contextmanager
def native_output_to(log: Path) -> Iterator[None]:
    """Append what native code writes to `log`: daisy warns of every worker that ends, and cannot be told not to.

    What Python prints still goes to the terminal. After an interrupt all this stays as it is, since daisy's server is
    then left to itself.
    """
    open_closed()
    kept = {1: os.dup(1), 2: os.dup(2)}
    streams = [(name, stream) for name, number in (("stdout", 1), ("stderr", 2)) if (stream := _moved(name, number))]
    source, target = os.pipe()
    copier = threading.Thread(target=_copy, args=(source, log), daemon=True)
    copier.start()
    for number in kept:
        os.dup2(target, number)
    os.close(target)
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:
        _put_back(kept, streams)
        raise
    _put_back(kept, streams)
    copier.join(PATIENCE)


def _copy(source: int, log: Path) -> None:
    """Copy from a pipe to the log. Daisy cannot write to the log itself: it panics if its standard error is full."""
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            with contextlib.suppress(OSError):
                log.parent.mkdir(parents=True, exist_ok=True)
                with log.open("ab") as file:
                    file.write(line)


def _moved(name: str, number: int) -> TextIO | None:
    """Give Python's stream a descriptor of its own; returns the former stream, or None if it had one already."""
    stream: TextIO | None = getattr(sys, name)
    if stream is None:  # it was closed when Python started
        return None
    try:
        stream.flush()
        if stream.fileno() != number:
            return None
    except (OSError, ValueError):
        return None
    own = os.dup(number)
    setattr(sys, name, lenient(own) if number == 2 else os.fdopen(own, "w", buffering=1, errors=stream.errors))
    return stream


def _put_back(kept: dict[int, int], streams: list[tuple[str, TextIO]]) -> None:
    for number, copy in kept.items():
        os.dup2(copy, number)
        os.close(copy)
    for name, stream in streams:
        getattr(sys, name).close()
        setattr(sys, name, stream)


def _send(workers: Iterable[BaseProcess], number: signal.Signals) -> None:
    for worker in workers:
        if worker.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)


class Terminated(BaseException):
    """Raised in a worker's main thread when it is asked to end while it has something to flush."""


def obey_driver() -> None:
    """In a worker: leave interrupts to the driver, and end when it asks: at once, as there is nothing to flush yet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _be_gone)


def flushed(body: Callable[[], None], flush: Callable[[], None]) -> None:
    """Run `body`; if the driver asks this worker to end meanwhile, run `flush` and end at once.

    After `body`, a request to end is ignored: the worker is about to end by itself. This is a function and no context
    manager: nothing would catch the exception of a signal between `__enter__` and the block of the `with`.
    """
    try:
        signal.signal(signal.SIGTERM, _raise_once)
        body()
        signal.signal(signal.SIGTERM, _go_on)
    except Terminated:
        with contextlib.suppress(Exception):
            flush()
        _be_gone()


def _raise_once(*_: object) -> None:
    signal.signal(signal.SIGTERM, _go_on)  # the driver may ask twice
    raise Terminated


def _go_on(*_: object) -> None:
    """Ignore the signal. SIG_IGN would not do: Python warns if it replaces a handler whose signal has just come."""


def _be_gone(*_: object) -> None:
    """End without waiting for other threads, or for what Python does at its end."""
    os._exit(128 + signal.SIGTERM)
