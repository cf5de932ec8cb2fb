"""A terminal for tests: run a command on a pseudo-terminal, and read what stands on the screen.

`Screen` knows the part of ECMA-48 that rich and click write: text, CR, LF, cursor up and down, erasing a line or the
rest of the screen, and colours, which it leaves out. https://ecma-international.org/publications-and-standards/standards/ecma-48/
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>78]")


@dataclass
class Screen:
    """What stands on a terminal. Lines that scrolled off the top are kept.

    Attributes:
        columns: width of the terminal, in characters.
        lines: all lines, the oldest first, without spaces at their end.
        row: of the cursor, an index in `lines`.
        column: of the cursor; `columns` if the line is full and the next character begins a new one.
    """

    columns: int = 80
    _cells: list[list[str]] = field(default_factory=lambda: [[]])
    _continued: set[int] = field(default_factory=set)
    row: int = 0
    column: int = 0

    @property
    def lines(self) -> list[str]:
        return ["".join(cells).rstrip() for cells in self._cells]

    @property
    def text(self) -> str:
        """The lines up to the last one that is not empty, joined."""
        return "\n".join(self.lines).rstrip()

    @property
    def printed(self) -> list[str]:
        """The lines as they were printed, without the breaks that the width of the terminal made, nor empty ones."""
        joined: list[str] = []
        for row, cells in enumerate(self._cells):
            text = "".join(cells)
            if row in self._continued:
                joined[-1] += text
            else:
                joined.append(text)
        return [line.rstrip() for line in joined if line.strip()]

    def feed(self, text: str) -> Screen:
        """Show more output."""
        place = 0
        while place < len(text):
            found = _SEQUENCE.match(text, place)
            if found:
                self._obey(found[1] or "", found[2] or "")
                place = found.end()
            else:
                self._type(text[place])
                place += 1
        return self

    def _type(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down(1)
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character.isprintable():
            if self.column >= self.columns:
                self.column = 0
                self._down(1)
                self._continued.add(self.row)
            cells = self._cells[self.row]
            cells.extend(" " * (self.column + 1 - len(cells)))
            cells[self.column] = character
            self.column += 1

    def _down(self, count: int) -> None:
        self.row += count
        while len(self._cells) <= self.row:
            self._cells.append([])

    def _obey(self, argument: str, letter: str) -> None:
        number = int(argument) if argument.isdigit() else None
        if letter == "A":
            self.row = max(0, self.row - (number or 1))
        elif letter == "B":
            self._down(number or 1)
        elif letter == "K":
            begin = {None: self.column, 0: self.column}.get(number, 0)
            del self._cells[self.row][begin:]
            self._continued.discard(self.row)
        elif letter == "J":
            del self._cells[self.row][self.column :], self._cells[self.row + 1 :]
            self._continued = {row for row in self._continued if row < self.row}
        elif letter not in ("m", "h", "l", ""):
            raise ValueError(f"the screen does not know the sequence ESC [ {argument} {letter}")


def on_terminal(
    *arguments: object,
    columns: int = 80,
    rows: int = 24,
    meanwhile: Callable[[subprocess.Popen[bytes], str], None] = lambda process, text: None,
    environment: dict[str, str] | None = None,
    patience: float = 300.0,
    **kwargs: Any,
) -> tuple[int, Screen, str]:
    """Run the `fgnet` command with a pseudo-terminal as its three standard streams.

    Args:
        arguments: of the command.
        columns: width of the terminal.
        rows: height of the terminal.
        meanwhile: called after every piece of output with the process and all output so far.
        environment: variables beside those of this process.
        patience: seconds after which the command is killed.
        kwargs: for `subprocess.Popen`, e.g. another `stdout`.

    Returns:
        The exit code, the screen at the end, and all output as it was written.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    command = [sys.executable, "-m", "fgnet_pipeline", *map(str, arguments)]
    unset = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    variables |= {"TERM": "xterm-256color", **(environment or {})}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, **kwargs}
    process = subprocess.Popen(command, env=variables, start_new_session=True, **streams)
    os.close(theirs)
    try:
        text = _read(ours, process, meanwhile, time.monotonic() + patience)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(ours)
    return process.returncode, Screen(columns).feed(text), text


def _read(
    terminal: int,
    process: subprocess.Popen[bytes],
    meanwhile: Callable[[subprocess.Popen[bytes], str], None],
    end: float,
) -> str:
    """Everything that is written to a terminal until the process has ended."""
    written = b""
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.05)
        if not ready:
            if process.poll() is not None:
                break
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            break
        if not piece:
            break
        written += piece
        meanwhile(process, written.decode(errors="replace"))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=max(0.1, end - time.monotonic()))
    return written.decode(errors="replace")


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Do what Ctrl-C on the terminal does: SIGINT to the whole group of processes."""
    os.killpg(process.pid, signal.SIGINT)
