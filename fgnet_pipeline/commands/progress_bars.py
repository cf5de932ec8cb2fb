"""Progress bars on standard error during a run: one per task, with failed blocks and the time left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fgnet_pipeline.execution.work import Counts


class Bars:
    """Shows one bar per task. A bar appears with the first report about its task.

    If standard error is no terminal, nothing is shown. Use it in a `with` statement, which ends the display.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:14s}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._bars: dict[str, TaskID] = {}

    def update(self, counts: dict[str, Counts]) -> None:
        """Take over the progress of all tasks (name -> counts). The scheduler calls it a few times per second."""
        for name, count in counts.items():
            if not self._bars:
                self._progress.start()
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(name, total=count.total, note="")
            note = f"{count.failed} failed" if count.failed else ""
            self._progress.update(self._bars[name], completed=count.done, note=note)

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
