"""The latest record of every block of a task, kept up to date by reading only what has been appended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.store.records.columns import Columns, parse, whole_lines


@dataclass
class Span:
    """What one run recorded: voxels, and the seconds (since 1970) between which it did."""

    voxels: int = 0
    begin: float = np.inf
    end: float = -np.inf


@dataclass
class Totals:
    """Sums over all records of a task: how long blocks took, and what workers needed at most.

    Attributes:
        seconds: spent on ``blocks`` blocks, the same block more than once where it was done again.
        nonzero: voxels of arrays, or rows of tables.
        peak_memory: bytes, of the largest worker.
        runs: number of a run -> what it recorded.
    """

    blocks: int = 0
    seconds: float = 0.0
    voxels: int = 0
    nonzero: int = 0
    peak_memory: int = 0
    hosts: set[str] = field(default_factory=set)
    runs: dict[int, Span] = field(default_factory=dict)

    @property
    def seconds_per_block(self) -> float | None:
        return self.seconds / self.blocks if self.blocks else None

    def add(self, records: Columns) -> None:
        """Count ``records``, those that withdraw others apart."""
        done = records.key != 0
        if not done.any():
            return
        self.blocks += int(done.sum())
        self.seconds += float(records.seconds[done].sum())
        self.voxels += int(records.voxels[done].sum())
        self.nonzero += int(records.nonzero[done].sum())
        self.peak_memory = max(self.peak_memory, int(records.peak_memory[done].max()))
        self.hosts |= set(records.host[done])
        for run in np.unique(records.run[done]):
            of_run = done & (records.run == run)
            span = self.runs.setdefault(int(run), Span())
            span.voxels += int(records.voxels[of_run].sum())
            span.begin = min(span.begin, float((records.finished - records.seconds)[of_run].min()))
            span.end = max(span.end, float(records.finished[of_run].max()))


class Latest:
    """The key of the latest record of every block in an index box, and totals over all records.

    Latest is by the number of the run, then by time. 25 bytes a block are held; ``key`` and ``nonzero`` are what
    remains of use once everything is read.

    Args:
        folder: with the ``done-*.jsonl`` of one task.
        blocks: records of blocks outside this index box count in ``totals`` only.
    """

    def __init__(self, folder: Path, blocks: Box) -> None:
        self._folder, self._blocks = folder, blocks
        self._begin()

    def _begin(self) -> None:
        #: uint64 (z, y, x) of the index box; 0 where nothing is recorded or the record was withdrawn.
        self.key = np.zeros(self._blocks.shape, np.uint64)
        #: bool of the same shape: whether anything but zeros (or a row of a table) was written.
        self.nonzero = np.zeros(self._blocks.shape, bool)
        self.totals = Totals()
        self._run = np.full(self._blocks.shape, -1, np.int64)
        self._finished = np.full(self._blocks.shape, -np.inf)
        self._offsets: dict[Path, int] = {}

    def update(self) -> Latest:
        """Read what has been appended since the last call; all of it where records were dropped."""
        paths = sorted(self._folder.glob("done-*.jsonl"))
        if not self._offsets.keys() <= set(paths):
            self._begin()
        for path in paths:
            for lines, end in whole_lines(path, self._offsets.get(path, 0)):
                self._add(parse(lines))
                self._offsets[path] = end
        return self

    def _add(self, records: Columns) -> None:
        self.totals.add(records)
        position = records.block - np.asarray(self._blocks.begin)
        inside = ((position >= 0) & (position < np.asarray(self._blocks.shape))).all(axis=1)
        if not inside.any():
            return
        at = np.ravel_multi_index(tuple(position[inside].T), self._blocks.shape)
        run, finished, key = records.run[inside], records.finished[inside], records.key[inside]
        order = np.lexsort((key, finished, run))
        at, run, finished, key = at[order], run[order], finished[order], key[order]
        nonzero = records.nonzero[inside][order] > 0
        later = _not_before((run, finished, key), tuple(a.ravel()[at] for a in (self._run, self._finished, self.key)))
        # Where a block appears twice, the last of the assigned values stays, which is the later record.
        for held, new in ((self._run, run), (self._finished, finished), (self.key, key), (self.nonzero, nonzero)):
            held.ravel()[at[later]] = new[later]


def _not_before(
    new: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.uint64]], held: tuple[npt.NDArray, ...]
) -> npt.NDArray[np.bool_]:
    """Whether each (run, finished, key) of ``new`` is equal to or after that of ``held``, in lexicographic order."""
    after = np.ones(len(new[0]), bool)
    for mine, theirs in zip(reversed(new), reversed(held), strict=True):
        after = (mine > theirs) | ((mine == theirs) & after)
    return after
