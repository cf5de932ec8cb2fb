"""Progress of work in this process, where no scheduler reports it."""

from __future__ import annotations

import time
from dataclasses import replace

from fgnet_pipeline.execution.work import Counts, Observer, Work

#: Seconds between two reports to the observer.
REPORT_SECONDS = 0.2


class Tally:
    """Counts the blocks of work as they begin and end, and reports them a few times per second.

    Args:
        work: what is computed; blocks that it leaves out count as done, as daisy counts them.
        observer: told of the counts; None for nobody.
    """

    def __init__(self, work: Work, observer: Observer | None) -> None:
        self._observer, self._reported = observer, 0.0
        self._counts = {}
        for name, todo in work.todo.items():
            blocks = len(work.listed[name]) if name in work.listed else todo.size
            self._counts[name] = Counts(blocks, 0 if name in work.listed else int((~todo).sum()), 0, 0)

    def begun(self, name: str) -> None:
        """A block of the task begins."""
        self._counts[name] = replace(self._counts[name], running=1)
        self._report()

    def ended(self, name: str, done: bool) -> None:
        """The block of the task ended."""
        count = self._counts[name]
        self._counts[name] = replace(count, running=0, done=count.done + done)
        self._report()

    def _report(self) -> None:
        if self._observer is not None and time.monotonic() - self._reported > REPORT_SECONDS:
            self._reported = time.monotonic()
            self._observer.update(dict(self._counts))
