"""Many tables that are sorted by segment, read as one, a range of segments at a time.

Memory holds the rows of one range, which are about `ROWS_AT_ONCE` or those of one segment, however large the tables
are together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.kernels.segment_rows import summed_by
from fgnet_pipeline.store.tables import Columns, Tables

Ids = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]
#: Rows of a range, if its last segment has few.
ROWS_AT_ONCE = 1 << 20
#: Lists of segments that are held before they are made one.
_LISTS = 100


@dataclass(frozen=True)
class Source:
    """One table with a column `segment`, by which it is sorted.

    Attributes:
        tables: that hold it.
        index: of its block or node.
        key: that it must carry.
        only_open: whether rows with `closed` = 1 are left out.
        more: columns to add that have one value, (1,) or (1, k), for all rows.
    """

    tables: Tables
    index: Vector
    key: str
    only_open: bool = False
    more: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)

    def segments(self) -> tuple[Ids, Counts]:
        """The segments, sorted, and how many rows each has; (n,) both.

        Raises:
            DamageError: the table is missing, torn, or does not belong to the plan.
        """
        columns, found = ["segment", "closed"] if self.only_open else ["segment"], [_no_segments()]
        for rows in self.tables.read_parts(self.index, columns, self.key):
            segments, counts = np.unique(self._kept(rows)["segment"], return_counts=True)
            found.append((segments.astype(np.uint64), counts))
        return _summed(found)

    def rows(self, low: int, high: int) -> Columns:
        """The rows of the segments from `low` to `high`, both included.

        Raises:
            DamageError: the table is missing, torn, or does not belong to the plan.
        """
        rows = self._kept(self.tables.read_range(self.index, "segment", low, high, self.key))
        segments = rows["segment"].astype(np.uint64)
        rows = rows_where(rows, (segments >= low) & (segments <= high))
        count = len(rows["segment"])
        return rows | {name: np.repeat(value, count, axis=0) for name, value in self.more.items()}

    def _kept(self, rows: Columns) -> Columns:
        return rows_where(rows, rows["closed"] == 0) if self.only_open else rows


def ranges(sources: Sequence[Source], at_once: int = ROWS_AT_ONCE) -> Iterator[Columns]:
    """Yield the rows of all tables in ranges of segments; nothing if there is no row.

    Args:
        sources: the tables.
        at_once: rows after which a range ends, at the end of a segment.

    Yields:
        Rows sorted by segment, and otherwise in the order of the sources. All rows of a segment are in one range.

    Raises:
        DamageError: a table is missing, torn, or does not belong to the plan.
    """
    segments, counts, bounds = _counted(sources)
    after = np.cumsum(counts)
    last = np.flatnonzero(np.diff((after - counts) // at_once, append=-1))
    for begin, end in zip(np.append(0, last + 1)[:-1], last, strict=True):
        low, high = int(segments[begin]), int(segments[end])
        parts = [source.rows(low, high) for source, (first, final) in bounds if first <= high and final >= low]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        yield rows_where(rows, np.argsort(rows["segment"], kind="stable"))


def _counted(sources: Sequence[Source]) -> tuple[Ids, Counts, list[tuple[Source, tuple[int, int]]]]:
    """The sorted segments of all tables and their rows; and every table that has rows, with its first and last one."""
    found, bounds = [_no_segments()], []
    for source in sources:
        segments, counts = source.segments()
        if len(segments):
            bounds.append((source, (int(segments[0]), int(segments[-1]))))
            found.append((segments, counts))
        if len(found) > _LISTS:
            found = [_summed(found)]
    return *_summed(found), bounds


def _no_segments() -> tuple[Ids, Counts]:
    """No segment and no count, the begin of a list for `_summed`."""
    return np.zeros(0, np.uint64), np.zeros(0, np.int64)


def _summed(found: Sequence[tuple[Ids, Counts]]) -> tuple[Ids, Counts]:
    """The sorted segments of several lists, and the sums of their counts."""
    return summed_by(np.concatenate([ids for ids, _ in found]), np.concatenate([counts for _, counts in found]))


def rows_where(columns: Columns, chosen: npt.NDArray[np.bool_] | Counts) -> Columns:
    """The chosen rows: those at which a mask (n,) is true, or those with the indices (m,)."""
    return {name: values[chosen] for name, values in columns.items()}


def segments_apart(first: npt.NDArray[np.bool_]) -> Iterator[Counts]:
    """Yield the indices of the rows of each segment, given which rows (n,) are the first of a segment."""
    if len(first):
        yield from np.split(np.arange(len(first)), np.flatnonzero(first)[1:])
