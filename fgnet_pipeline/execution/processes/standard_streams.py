"""Standard input, output and error that are closed, full or cannot express a character.

- A closed descriptor (`2>&-`) would be given to the next file that is opened, and what native code prints would be
  written into that file. It is opened on /dev/null instead.
- Sentences for people go to standard error. If they cannot be printed (full disk, broken pipe), the work goes on.
- Standard output holds results. If they cannot be printed, the command fails (`output_error`).
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO


def repair_streams() -> None:
    """Make the three standard streams of this process usable; to be called once, before anything is opened."""
    open_closed()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    raw = _Watched(1, "w", closefd=False)
    # A path may hold any bytes, and the locale may know few characters.
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True)
    sys.stderr = lenient(2, closefd=False)


def open_closed() -> None:
    """Open the closed ones among the descriptors 0, 1 and 2 on /dev/null."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _lead_nowhere(number)


def lenient(descriptor: int, closefd: bool = True) -> TextIO:
    """A stream for lines of text that never fails: what cannot be written is lost."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    raw = _Lenient(descriptor, "w", closefd=closefd)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=True)


def output_error() -> OSError | None:
    """Why standard output cannot be written; None if everything has been, or if this was asked before.

    After an error, standard output leads to /dev/null, so that the end of the process is not disturbed by what could
    not be written.
    """
    found: OSError | None = None
    try:
        sys.stdout.flush()
    except OSError as error:
        found = error
    except ValueError:  # closed by the command itself
        return None
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Watched):
        found, raw.error = found or raw.error, None
    if found is not None:
        with contextlib.suppress(OSError, ValueError):
            _lead_nowhere(sys.stdout.fileno())
            sys.stdout.flush()
    return found


class _Watched(io.FileIO):
    """A file that keeps the error of a write that failed: what the caller of the write makes of it is unknown.

    Attributes:
        error: of the latest write that failed; None if all went well.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            self.error = error
            raise


class _Lenient(io.FileIO):
    """A file whose writes never fail."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def _lead_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(nowhere, True)
        return
    os.dup2(nowhere, number)
    os.close(nowhere)
