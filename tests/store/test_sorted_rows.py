"""Rows that are sorted with files come in the order that one sort in memory gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgnet_pipeline.store import sorted_rows
from fgnet_pipeline.store.agglomerate_file import Offsets
from fgnet_pipeline.store.sorted_rows import SortedRows


@pytest.mark.parametrize("count, rows", [(0, 10), (1, 10), (997, 2000), (997, 100), (997, 3)])
def test_rows_come_in_order(count: int, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_rows, "ROWS", rows)
    monkeypatch.setattr(sorted_rows, "STEP", 3)
    rng = np.random.default_rng(count + rows)
    keys = np.unique(rng.integers(0, [5, (1 << 63) - 1], (count, 2)).astype(np.uint64), axis=0)
    keys = rng.permutation(keys)
    values = rng.random(len(keys))
    table = SortedRows(tmp_path / "sort", 3)
    for part in np.array_split(np.arange(len(keys)), 13):
        table.add(keys[part, 0], keys[part, 1], values[part])
    pieces = list(table.pieces())
    found = np.concatenate(pieces)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    np.testing.assert_array_equal(found[:, :2], keys[order])
    np.testing.assert_array_equal(np.ascontiguousarray(found[:, 2]).view(np.float64), values[order])
    assert max(map(len, pieces)) <= max(4 * rows, 40) and (len(pieces) > 1) == (len(keys) > rows)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_offsets_are_those_of_a_count(size: int) -> None:
    of_rows = np.sort(np.random.default_rng(size).integers(1, 40, 60)).astype(np.uint64)
    offsets = Offsets(50)
    found = [part for begin in range(0, 60, size) for part in offsets.push(of_rows[begin : begin + size])]
    found += list(offsets.finish())
    np.testing.assert_array_equal(np.concatenate(found), [(of_rows < name).sum() for name in range(52)])
