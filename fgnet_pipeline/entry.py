"""Where the commands start, and what Ctrl-C does to them.

It raises ``KeyboardInterrupt``, as Python has it, but not where packages are being imported, which takes a second or
two: these may catch it, or end the process with a signal and a page of text.
"""

import os
import signal
from types import FrameType

INTERRUPTED = 130
INTERRUPT_SENTENCE = "interrupted: run the same command again to go on"
IMPORTING = "<frozen importlib._bootstrap>"


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
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a script's `&` has it ignored
        signal.signal(signal.SIGINT, _interrupt)
    from . import cli

    getattr(cli, name)()


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            os.write(2, f"{INTERRUPT_SENTENCE}\n".encode())
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
