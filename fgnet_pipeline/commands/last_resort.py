"""What becomes of an error that nothing else has turned into a sentence: one line for the user, a traceback in a file.

Such an error is a fault of the program, or something outside its control (a disk, a library, the memory). This module
imports nothing heavy: it also serves errors of imports.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fgnet_pipeline.core.errors import PipelineError

#: What the line begins with. `error:` begins that of bad input, `failed:` that of work that failed.
WORD = "fault"
#: Errors of a path that a user can correct: they count as bad input.
PATH_ERRORS = frozenset({
    errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS,
})  # fmt: skip
#: Names that code gives to the file that it reads.
NAMES_OF_FILES = ("path", "file", "filename", "fname", "source", "url", "name")
MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Fault:
    """An error as the user sees it.

    Attributes:
        sentence: one line: the error, the file that was being read if it is known, and the log.
        log: the file that holds the traceback; None if no file could be written.
        exit_code: 2 for a path that cannot be used, 1 for everything else.
    """

    sentence: str
    log: Path | None
    exit_code: int


def last_resort(error: BaseException, folder: Path | None = None) -> Fault:
    """Write the traceback of an error to a log, and say in one sentence what happened.

    Args:
        error: any error.
        folder: where the log goes if it can be written there; otherwise the temporary folder, or else the working
            directory.
    """
    log = _written(_report(error), folder)
    parts = [_what(error)]
    if file := file_of(error):
        parts.append(f"the file is {file}")
    place = f"the traceback is in {log}" if log else f"no log could be written; it happened in {_place(error)}"
    code = 2 if isinstance(error, OSError) and error.errno in PATH_ERRORS else 1
    return Fault(f"{WORD}: {'; '.join(parts)}; {place}", log, code)


class FaultError(Exception):
    """An error whose traceback has been written to a log."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.sentence)
        self.fault = fault


@contextlib.contextmanager
def faults_logged_in(folder: Path) -> Iterator[None]:
    """Write the traceback of an error that nobody foresaw into a folder.

    Raises:
        FaultError: in place of such an error.
    """
    try:
        yield
    except (PipelineError, FaultError):
        raise
    except Exception as error:
        raise FaultError(last_resort(error, folder)) from error


def file_of(error: BaseException) -> str | None:
    """The file that was being read or written when an error happened; None if it is not known.

    The error itself or one of its causes names it, or the functions that were running have a variable for it.
    """
    for one in _chain(error):
        name = getattr(one, "filename", None)
        if isinstance(one, OSError) and name is not None:
            return _shown(os.fsdecode(name) if isinstance(name, bytes) else str(name))
    for trace in _innermost_first(error.__traceback__):
        variables = trace.tb_frame.f_locals
        for name in NAMES_OF_FILES:
            if (found := _existing(variables.get(name))) is not None:
                return found
    return None


def _existing(value: object) -> str | None:
    """The value if it is the path of a file or folder that is no source of Python."""
    if not isinstance(value, str | os.PathLike):
        return None
    with contextlib.suppress(Exception):
        text = os.fspath(value)
        if isinstance(text, str) and os.sep in text and os.path.exists(text) and not text.endswith((".py", ".pyc")):
            return _shown(text)
    return None


def _what(error: BaseException) -> str:
    """The error in a few words."""
    if isinstance(error, MemoryError):
        return "there is not enough memory: use smaller blocks, fewer workers or another machine"
    if isinstance(error, OSError) and error.strerror:
        return f"the system says: {error.strerror}"
    lines = [""]
    with contextlib.suppress(Exception):
        lines = str(error).strip().splitlines() or [""]
    return _shown(f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__)


def _shown(text: str) -> str:
    """The text without line breaks and other characters that do not print, cut to a length that can be read."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return printable if len(printable) <= MOST_CHARACTERS else printable[:MOST_CHARACTERS] + "..."


def _place(error: BaseException) -> str:
    """The line of code that raised the error."""
    for trace in _innermost_first(error.__traceback__):
        return f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
    return "an unknown place"


def _innermost_first(trace: TracebackType | None) -> list[TracebackType]:
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found[::-1]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the latest first."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _report(error: BaseException) -> str:
    """The content of the log."""
    lines = [f"time: {time.strftime('%Y-%m-%d %H:%M:%S')}", f"command: {sys.argv!r}", f"Python: {sys.version}"]
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # an error whose own text cannot be made
        text = f"{type(error)!r} in {_place(error)}\n"
    return "\n".join([*lines, "", text])


def _written(text: str, folder: Path | None) -> Path | None:
    """Write a log into the first folder that takes it."""
    places = [lambda: folder, lambda: tempfile.gettempdir(), os.getcwd]
    for place in places:
        with contextlib.suppress(OSError, ValueError):
            where = place()
            if where is None:
                continue
            descriptor, name = tempfile.mkstemp(prefix="fgnet-fault-", suffix=".log", dir=where)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return Path(name)
    return None
