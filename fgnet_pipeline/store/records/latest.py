"""The latest record of every block of a task, kept up to date by reading only what has been appended.

Latest is by run, then by time, then by key. Every driver raises the number of the run by one, so that a wrong clock
cannot change which run is the latest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.store.records.columns import Columns, parse, whole_lines

#: The fields by which records of one block are ordered, the most important first.
PRECEDENCE = ("run", "finished", "key")
#: The fields that `Totals` and `Latest` need beside the needed ones.
_COUNTED = ("seconds", "voxels", "nonzero", "peak_memory", "host")


def in_order(records: Columns) -> npt.NDArray[np.intp]:
    """The positions (n,) of the records, from the earliest to the latest."""
    return np.lexsort([records[name] for name in reversed(PRECEDENCE)])


def not_before(new: Columns, held: Columns) -> npt.NDArray[np.bool_]:
    """For each pair of records (n,): whether that of `new` is equal to, or later than, that of `held`."""
    after = np.ones(len(new["run"]), bool)
    for name in reversed(PRECEDENCE):
        after = (new[name] > held[name]) | ((new[name] == held[name]) & after)
    return after


def latest_of_each(records: Columns) -> npt.NDArray[np.intp]:
    """The positions of the latest record of each block, in the order of the blocks."""
    newest_first = in_order(records)[::-1]
    _, first = np.unique(records["block"][newest_first], axis=0, return_index=True)
    return newest_first[first]


@dataclass
class Span:
    """What one run has recorded.

    Attributes:
        voxels: sum over its records.
        begin: when its first block was begun, in seconds since 1970.
        end: when its last block was finished, in seconds since 1970.
    """

    voxels: int = 0
    begin: float = np.inf
    end: float = -np.inf


@dataclass
class Totals:
    """Sums over all records of a task: how long blocks took, and what workers needed at most.

    Attributes:
        blocks: number of records; a block that was computed twice counts twice.
        seconds: sum over the records.
        voxels: sum over the records.
        nonzero: sum over the records: voxels of arrays, or rows of tables.
        peak_memory: of the largest worker, in bytes.
        hosts: names of the machines.
        runs: number of a run -> what it has recorded.
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
        """Mean over the records; None if there are none."""
        return self.seconds / self.blocks if self.blocks else None

    def add(self, records: Columns) -> None:
        """Count `records`, except those that withdraw others."""
        done = records["key"] != 0
        if not done.any():
            return
        made = records if done.all() else {name: values[done] for name, values in records.items()}
        self.blocks += int(done.sum())
        self.seconds += float(made["seconds"].sum())
        self.voxels += int(made["voxels"].sum())
        self.nonzero += int(made["nonzero"].sum())
        self.peak_memory = max(self.peak_memory, int(made["peak_memory"].max()))
        self.hosts |= set(made["host"])
        begun = made["finished"] - made["seconds"]
        for run in np.unique(made["run"]):
            of_run = made["run"] == run
            span = self.runs.setdefault(int(run), Span())
            span.voxels += int(made["voxels"][of_run].sum())
            span.begin = min(span.begin, float(begun[of_run].min()))
            span.end = max(span.end, float(made["finished"][of_run].max()))


class Latest:
    """The key of the latest record of every block in an index box, and totals over all records.

    It holds 25 bytes per block.

    Args:
        folder: holds the `done-*.jsonl` of one task.
        blocks: index box, zyx. Records of other blocks count in `totals` only.

    Attributes:
        key: uint64 (z, y, x) of the index box; 0 if nothing is recorded or the record was withdrawn.
        nonzero: bool (z, y, x) of the index box; whether a voxel other than 0, or a row of a table, was written.
        totals: sums over all records.
    """

    def __init__(self, folder: Path, blocks: Box) -> None:
        self._folder, self._blocks = folder, blocks
        self._begin()

    def _begin(self) -> None:
        self.key = np.zeros(self._blocks.shape, np.uint64)
        self.nonzero = np.zeros(self._blocks.shape, bool)
        self.totals = Totals()
        self._run = np.full(self._blocks.shape, -1, np.int64)
        self._finished = np.full(self._blocks.shape, -np.inf)
        self._offsets: dict[Path, int] = {}

    def update(self) -> Latest:
        """Read what has been appended since the last call, or everything if files were removed since then."""
        paths = sorted(self._folder.glob("done-*.jsonl"))
        if not self._offsets.keys() <= set(paths):
            self._begin()
        for path in paths:
            for lines, end in whole_lines(path, self._offsets.get(path, 0)):
                self._add(parse(lines, _COUNTED))
                self._offsets[path] = end
        return self

    def _add(self, records: Columns) -> None:
        self.totals.add(records)
        position = records["block"] - np.asarray(self._blocks.begin)
        inside = ((position >= 0) & (position < np.asarray(self._blocks.shape))).all(axis=1)
        if not inside.any():
            return
        at = np.ravel_multi_index(tuple(position[inside].T), self._blocks.shape)
        new = {name: records[name][inside] for name in (*PRECEDENCE, "nonzero")}
        new["nonzero"] = new["nonzero"] > 0
        held = {"run": self._run, "finished": self._finished, "key": self.key, "nonzero": self.nonzero}
        order = in_order(new)
        at, new = at[order], {name: values[order] for name, values in new.items()}
        later = not_before(new, {name: held[name].ravel()[at] for name in PRECEDENCE})
        # If a block appears twice, numpy keeps the last of the assigned values, which is the later record.
        for name, values in new.items():
            held[name].ravel()[at[later]] = values[later]
