"""Signals that wait: until a block is finished, or until what is being written is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signal(*signals: signal.Signals) -> Iterator[threading.Event]:
    """An event that ``signals`` (SIGTERM where none is given) set: a worker then finishes its block and takes no other.

    Python calls its handlers in the main thread alone; in another, nothing is changed. What is ignored stays ignored.
    """
    stop, former = threading.Event(), {}
    if threading.current_thread() is threading.main_thread():
        for number in signals or (signal.SIGTERM,):
            if signal.getsignal(number) is not signal.SIG_IGN:
                former[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_later() -> Iterator[None]:
    """An interrupt that comes meanwhile is heard afterwards: Zarr's own threads would go on writing after one."""
    stop = threading.Event()
    try:
        with stop_on_signal(signal.SIGINT) as stop:
            yield
    finally:
        if stop.is_set():
            signal.raise_signal(signal.SIGINT)
