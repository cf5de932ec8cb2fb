"""The entry points of the commands: what must be settled before anything else is imported, and Ctrl-C.

As usual in Python, Ctrl-C raises `KeyboardInterrupt`. During an import it is delayed until the import has ended,
because a package that is being imported may swallow the exception, or crash with a long message. Before the commands
have been imported, Ctrl-C ends the process at once.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from fgnet_pipeline.commands.last_resort import last_resort
from fgnet_pipeline.core.signals import INTERRUPT_SENTENCE, INTERRUPTED
from fgnet_pipeline.execution.processes.standard_streams import repair_streams

#: File name of every stack frame that imports a module.
IMPORTING = "<frozen importlib._bootstrap>"
#: Seconds between two attempts to deliver a delayed interrupt.
POLL = 0.05


def main() -> None:
    """Run the `fgnet` command."""
    _start("main")


def run_predict() -> None:
    """Run the script `run_predict.py`."""
    _start("run_predict")


def run_agglomerate() -> None:
    """Run the script `run_agglomerate.py`."""
    _start("run_agglomerate")


def _start(name: str) -> None:
    repair_streams()
    _require_working_folder()
    heeds = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # false in a script's background job (`&`)
    if heeds:
        signal.signal(signal.SIGINT, _end)
    try:
        from fgnet_pipeline.commands import cli
    except Exception as error:
        fault = last_resort(error)
        _give_up(fault.sentence, fault.exit_code)
    if heeds:
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.signal(signal.SIGINT, _interrupt)
    getattr(cli, name)()


def _require_working_folder() -> None:
    """Refuse to work in a folder that was removed: relative paths have no meaning there."""
    try:
        os.getcwd()
    except OSError as error:
        expected = f"a folder that exists and can be entered ({error.strerror})"
        _give_up(f"error: working directory = {os.environ.get('PWD', '')!r}: expected {expected}; change to another", 2)


def _give_up(sentence: str, code: int) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(code)


def _end(*_: object) -> None:
    """End the process at once: nothing has begun yet."""
    os.write(2, f"{INTERRUPT_SENTENCE}\n".encode())
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, or try again later if an import is under way."""
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            signal.setitimer(signal.ITIMER_REAL, POLL)
            return
        frame = frame.f_back
    raise KeyboardInterrupt
