"""Where the pairs (segment, label) of a contingency table lie, kept while the table is counted block by block."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.kernels.contingency import Contingency

Ids = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.void]
_ROW = np.dtype([("segment", np.uint64), ("label", np.uint64), ("count", np.int64), ("begin", np.int64, 3),
                 ("end", np.int64, 3), ("low", np.int64, 3), ("high", np.int64, 3)])  # fmt: skip
#: Rows that wait before they are merged, however short the table is.
_FEW_ROWS = 1 << 16


@dataclass
class PairPlaces:
    """Per pair the block that holds most of its voxels, and the box of all blocks that hold any of them."""

    _rows: Rows = field(default_factory=lambda: np.zeros(0, _ROW), repr=False)
    _waiting: list[Rows] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, box: Box, table: Contingency) -> None:
        """Note a block; threads may call this.

        Args:
            box: of the block, in voxels.
            table: of the block.
        """
        rows = np.zeros(len(table), _ROW)
        rows["segment"], rows["label"], rows["count"] = table.segments, table.labels, table.counts
        rows["begin"], rows["end"], rows["low"], rows["high"] = box.begin, box.end, box.begin, box.end
        with self._lock:
            self._waiting.append(rows)
            if sum(map(len, self._waiting)) > max(len(self._rows), _FEW_ROWS):
                self._merge()

    def of(self, segment: int, label: int) -> tuple[Box, Box]:
        """The block that holds most voxels of a pair, and the box of all blocks that hold any.

        Raises:
            KeyError: no block holds any.
        """
        with self._lock:
            self._merge()
        found = np.flatnonzero(
            (self._rows["segment"] == np.uint64(segment)) & (self._rows["label"] == np.uint64(label))
        )
        if not len(found):
            raise KeyError((segment, label))
        row = self._rows[found[0]]
        return Box(vector(row["begin"]), vector(row["end"])), Box(vector(row["low"]), vector(row["high"]))

    def relabelled(self, fragments: Ids, segments: Ids) -> PairPlaces:
        """The places of the pairs of segments, if these are those of fragments.

        Args:
            fragments: ids (n,), rising; all that occur.
            segments: of each (n,).

        Returns:
            The block of a pair is the one that holds most voxels of its largest piece in one fragment.
        """
        with self._lock:
            self._merge()
            rows = self._rows.copy()
        rows["segment"] = segments[np.searchsorted(fragments, rows["segment"])]
        return PairPlaces(_waiting=[rows])

    def _merge(self) -> None:
        """One row per pair. Of blocks with as many voxels, the first in C order counts, whichever was read first."""
        if not self._waiting:
            return
        rows = np.concatenate([self._rows, *self._waiting])
        self._waiting.clear()
        z, y, x = rows["begin"].T
        rows = rows[np.lexsort((x, y, z, -rows["count"], rows["label"], rows["segment"]))]
        is_first = np.ones(len(rows), bool)
        is_first[1:] = (rows["segment"][1:] != rows["segment"][:-1]) | (rows["label"][1:] != rows["label"][:-1])
        starts = np.flatnonzero(is_first)
        self._rows = rows[starts]
        if len(starts):
            self._rows["low"] = np.minimum.reduceat(rows["low"], starts)
            self._rows["high"] = np.maximum.reduceat(rows["high"], starts)
