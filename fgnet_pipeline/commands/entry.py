"""Where the commands start, and what Ctrl-C does to them.

It raises ``KeyboardInterrupt``, as Python has it, but not while packages are being imported, which takes a second or
two: these may catch it, or end the process with a signal and a page of text. It is raised as soon as they are there.
"""

import os
import signal
from types import FrameType

INTERRUPTED = 130
INTERRUPT_SENTENCE = "interrupted: run the same command again to go on"
IMPORTING = "<frozen importlib._bootstrap>"
#: How often (s) it is looked whether they are.
POLL = 0.05


def main() -> None:
    """The ``fgnet`` command."""
    _start("main")


def run_predict() -> None:
    """The ``run_predict.py`` script."""
    _start("run_predict")


def run_agglomerate() -> None:
    """The ``run_agglomerate.py`` script."""
    _start("run_agglomerate")


def _start(name: str) -> None:
    heeds = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a script's `&` has it ignored
    if heeds:
        signal.signal(signal.SIGINT, _end)
    from fgnet_pipeline.commands import cli

    if heeds:
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.signal(signal.SIGINT, _interrupt)
    getattr(cli, name)()


def _end(*_: object) -> None:
    """While nothing is under way."""
    os.write(2, f"{INTERRUPT_SENTENCE}\n".encode())
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            signal.setitimer(signal.ITIMER_REAL, POLL)
            return
        frame = frame.f_back
    raise KeyboardInterrupt
