"""Delay signals until a block is finished, or until a write is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Exit code after Ctrl-C, and what a command says then.
INTERRUPTED = 130
INTERRUPT_SENTENCE = "interrupted: run the same command again to go on"


class Stop:
    """A flag that the handler of a signal sets.

    `threading.Event` will not do: its lock would never be released if a second signal came while the first one sets it.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Set the flag."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._is_set


@contextmanager
def stop_on_signal(*signals: signal.Signals) -> Iterator[Stop]:
    """Yield a flag that is set when a signal arrives; the signal has no other effect.

    A worker that sees the flag set finishes its block and takes no other. A signal that the process ignores stays
    ignored. Python runs signal handlers in the main thread alone, so in any other thread the flag is never set.

    Args:
        *signals: the signals to wait for; SIGTERM if none is given.
    """
    stop, former = Stop(), {}
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
    stop = Stop()
    try:
        with stop_on_signal(signal.SIGINT) as stop:
            yield
    finally:
        if stop.is_set():
            signal.raise_signal(signal.SIGINT)
