"""Runs the cases of a campaign one after the other."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from campaign.cases import Verdict, make, run
from campaign.child import Child
from campaign.tally import Tally
from fgnet_pipeline.store.arrays import use_threads


def campaign(
    seed: int,
    numbers: Iterable[int],
    seconds: float | None = None,
    told: Callable[[Verdict], None] | None = None,
    keep: Path | None = None,
) -> Tally:
    """Run cases.

    Args:
        seed: of all cases.
        numbers: of the cases.
        seconds: after which no further case begins; None: all cases run.
        told: called with every verdict.
        keep: folder that keeps the files of the cases; None: temporary folders.

    Returns:
        The counts.
    """
    tally, end = Tally(seed), None if seconds is None else time.monotonic() + seconds
    use_threads(1)  # chunks are decoded by the library that decodes them in a run
    loudness = logging.getLogger("tifffile").level
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    try:
        with Child() as child, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in numbers:
                if end is not None and time.monotonic() > end:
                    break
                case = make(seed, number)
                verdict = child.run(seed, number, case.changes) if case.native and not keep else run(case, keep)
                tally.add(verdict)
                if told is not None:
                    told(verdict)
    finally:
        logging.getLogger("tifffile").setLevel(loudness)
    return tally


class Log:
    """A file with every failure (a traceback, if there is one) and what was understood of undecidable files.

    Args:
        path: of the file, which is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", encoding="utf-8")

    def __call__(self, verdict: Verdict) -> None:
        """Write one verdict, if there is something to tell."""
        if not verdict.failed and verdict.outcome != "understood":
            return
        self._file.write(f"case {verdict.number}, {verdict.form}, {verdict.kind}: {'; '.join(verdict.changes)}\n")
        self._file.write(f"  {verdict.outcome}: {verdict.detail}\n")
        if verdict.understood is not None:
            self._file.write(f"  understood: {verdict.understood}\n")
        self._file.flush()
