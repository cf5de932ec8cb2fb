"""Sort more rows than fit into memory, with files.

1. Rows are appended to one file. Every `STEP`-th row is kept in memory as a sample.
2. Limits are taken from the sorted sample, so that between two of them lie about `ROWS` rows. The rows are distributed
   over one file per interval.
3. Each file is read and sorted in memory, one after the other.

Memory: about three times `ROWS` rows, and one sample per `STEP` rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

#: Rows that are sorted in memory, and rows per sample.
ROWS, STEP = 1 << 19, 1 << 8
Rows = npt.NDArray[np.uint64]


class SortedRows:
    """Rows of uint64, sorted by their first two columns. No two rows may agree in both.

    Args:
        folder: for the files; it is made.
        width: number of columns, at least 2.
    """

    def __init__(self, folder: Path, width: int) -> None:
        folder.mkdir(parents=True)
        self._folder, self._width, self._rows = folder, width, ROWS
        self._samples: list[Rows] = []
        self._all = (folder / "all").open("xb")
        self.count = 0

    def add(self, *columns: npt.NDArray[np.generic]) -> None:
        """Add rows, column by column: (n,) each, of 64-bit numbers; the first two are unsigned."""
        rows = np.stack([np.ascontiguousarray(column).view(np.uint64) for column in columns], axis=1)
        assert rows.shape[1] == self._width
        self._all.write(rows.data)
        first = -self.count % STEP
        self._samples.append(rows[first::STEP, :2].copy())
        self.count += len(rows)

    def pieces(self) -> Iterator[Rows]:
        """All rows in order, as arrays (n, width). It may be called once."""
        self._all.close()
        limits = self._limits()
        if len(limits) == 0:
            yield _sorted(self._read("all"))
            return
        for rows in self._as_added():
            number = _place(rows, limits)
            order = np.argsort(number, kind="stable")
            ends = np.searchsorted(number[order], np.arange(len(limits) + 2))
            for interval in np.unique(number):
                with (self._folder / str(interval)).open("ab") as stream:
                    stream.write(rows[order[ends[interval] : ends[interval + 1]]].data)
        (self._folder / "all").unlink()
        for interval in range(len(limits) + 1):
            yield _sorted(self._read(str(interval)))
            (self._folder / str(interval)).unlink(missing_ok=True)

    def _limits(self) -> Rows:
        """The first keys of all intervals but the first, (k, 2), sorted."""
        intervals = -(-self.count // self._rows)
        samples = _sorted(np.concatenate(self._samples)) if self._samples else np.zeros((0, 2), np.uint64)
        self._samples = []
        places = np.arange(1, intervals) * len(samples) // max(1, intervals)
        return np.unique(samples[places], axis=0)

    def _as_added(self) -> Iterator[Rows]:
        with (self._folder / "all").open("rb") as stream:
            while data := stream.read(self._rows * self._width * 8):
                yield np.frombuffer(data, np.uint64).reshape(-1, self._width)

    def _read(self, name: str) -> Rows:
        path = self._folder / name
        data = path.read_bytes() if path.exists() else b""
        return np.frombuffer(data, np.uint64).reshape(-1, self._width)


def _sorted(rows: Rows) -> Rows:
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


def _place(rows: Rows, limits: Rows) -> npt.NDArray[np.int64]:
    """The interval of each row: how many limits are not above its key."""
    keys = np.concatenate([limits[:, :2], rows[:, :2]])
    order = np.lexsort((np.arange(len(keys)), keys[:, 1], keys[:, 0]))  # a limit before rows of the same key
    passed = np.cumsum(order < len(limits))
    place = np.empty(len(keys), np.int64)
    place[order] = passed
    return place[len(limits) :]
