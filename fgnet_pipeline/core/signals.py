"""Delay signals until a block is finished, or until a write is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signal(*signals: signal.Signals) -> Iterator[threading.Event]:
    """Yield an event that is set when a signal arrives; the signal has no other effect.

    A worker that sees the event set finishes its block and takes no other. A signal that the process ignores stays
    ignored. Python runs signal handlers in the main thread alone, so in any other thread the event is never set.

    Args:
        *signals: the signals to wait for; SIGTERM if none is given.
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
    """Delay Ctrl-C (SIGINT) until the end of the `with` block.

    Otherwise the interrupt would end the main thread's part of a write while Zarr's own threads go on writing.
    """
    stop = threading.Event()
    try:
        with stop_on_signal(signal.SIGINT) as stop:
            yield
    finally:
        if stop.is_set():
            signal.raise_signal(signal.SIGINT)
