"""Progress bars on standard error during a run: one per task, in the order of the data flow.

The bars are drawn through a descriptor of their own. While workers run, `sys.stderr` and descriptor 2 are exchanged
(`fgnet_pipeline.execution.processes.interrupt.native_output_to`), and bars that followed them would lose their place on
the screen and overdraw what is printed after them.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from fgnet_pipeline.commands.options import say
from fgnet_pipeline.commands.quiet import is_quiet, is_told
from fgnet_pipeline.core.durations import duration
from fgnet_pipeline.execution.processes.standard_streams import lenient
from fgnet_pipeline.execution.work import Counts

#: Seconds over which the rate is averaged for the time left: a block may take many minutes.
AVERAGED = 3600.0
#: Terminals that cannot move the cursor.
DUMB = ("", "dumb", "unknown")


class _TimeLeft(ProgressColumn):
    """The time left at the rate of the last hour, once two blocks are done."""

    def render(self, task: Task) -> Text:
        ended = task.finished or task.stop_time is not None
        left = None if ended else task.time_remaining
        return Text("" if left is None else f"{duration(left)} left", no_wrap=True)


def is_shown() -> bool:
    """Whether progress is drawn: standard error is a terminal that can, and `--quiet` was not given."""
    return sys.stderr.isatty() and not is_quiet() and os.environ.get("TERM", "").lower() not in DUMB


def progress(count: ProgressColumn | None = None) -> Progress:
    """An empty display on standard error, which stays in its place whatever becomes of `sys.stderr`.

    Args:
        count: the column that says in numbers how far a task is. None: how many of how many.
    """
    shown = is_shown()
    file = lenient(os.dup(sys.stderr.fileno())) if shown else sys.stderr
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None),
        count or MofNCompleteColumn(table_column=Column(no_wrap=True, justify="right")),
        TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
        _TimeLeft(table_column=Column(no_wrap=True)),
        console=Console(file=file, force_terminal=shown),
        disable=not shown,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=AVERAGED,
    )


class Bars:
    """Shows one bar per task, with the blocks that run, failed, and were not begun since a block that they read failed.

    The display begins with the first report. If standard error is no terminal, nothing is shown. Use it in a `with`
    statement, which ends the display.
    """

    def __init__(self) -> None:
        self._progress = progress()
        self._bars: dict[str, TaskID] = {}
        self._latest: dict[str, Counts] = {}
        self._ended = False

    def update(self, counts: dict[str, Counts]) -> None:
        """Take over the progress of all tasks (name -> counts). The scheduler calls it a few times per second."""
        if self._ended:  # a scheduler that was left to itself after an interrupt
            return
        self._progress.start()
        for name, count in counts.items():
            self._latest[name] = count
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(name, total=count.total, note="")
            self._progress.update(
                self._bars[name], completed=count.done, total=count.total, note=_note(count, count.running)
            )

    def finish(self) -> None:
        """Take note that every block is done, whatever was reported last, and end the display."""
        for bar, count in zip(self._bars.values(), self._latest.values(), strict=True):
            self._progress.update(bar, completed=count.total, note="")
        self._stop()

    def say(self, sentence: str) -> None:
        """Print a sentence for people: above the bars while they are shown."""
        if self._bars and not self._ended and not self._progress.disable:
            if is_told(sentence):
                self._progress.console.print(Text(sentence), soft_wrap=True)
        else:
            say(sentence)

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ended:
            return
        for bar, count in zip(self._bars.values(), self._latest.values(), strict=True):
            # Nothing runs any more. After an interrupt the scheduler takes blocks of ended workers for failed ones.
            interrupted = isinstance(error, KeyboardInterrupt)
            self._progress.update(bar, note="" if interrupted else _note(count, running=0))
            self._progress.stop_task(bar)
        self._stop()

    def _stop(self) -> None:
        self._ended = True
        self._progress.stop()


def _note(count: Counts, running: int) -> str:
    parts = ((running, "running"), (count.failed, "failed"), (count.not_begun, "not begun"))
    return ", ".join(f"{number} {word}" for number, word in parts if number)
