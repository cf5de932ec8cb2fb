"""Many tables, read in ranges of segments, give every row once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.exports.by_segment import Source, ranges
from fgnet_pipeline.store import tables as tables_module
from fgnet_pipeline.store.tables import Tables

LARGE = (1 << 63) - 1


def _tables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """Four tables of 0 to 300 rows, in row groups of 16 rows; one segment has 400 rows in all."""
    monkeypatch.setattr(tables_module, "ROWS_PER_GROUP", 16)
    rng, tables = np.random.default_rng(1), Tables(folder, "toy", "toy")
    for number in range(3):
        segments = np.sort(np.append(rng.integers(1, 60, 100, np.uint64) << np.uint64(57), [7] * 133 + [LARGE]))
        columns = {
            "segment": segments.astype(np.uint64),
            "value": np.arange(len(segments)) + 1000 * number,
            "closed": (segments % 3 == 0).astype(np.uint8),
        }
        tables.write((number, 0, 0), columns, "key")
    tables.write((3, 0, 0), {name: values[:0] for name, values in columns.items()}, "key")
    return [Source(tables, (number, 0, 0), "key") for number in range(4)]


@pytest.mark.parametrize("at_once", [1, 20, 150, 1 << 20])
def test_ranges_hold_every_row_once(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = _tables(tmp_path, monkeypatch)
    found = list(ranges(sources, at_once))
    together = {name: np.concatenate([rows[name] for rows in found]) for name in found[0]}
    everything = [source.tables.read(source.index) for source in sources]
    order = np.argsort(np.concatenate([rows["segment"] for rows in everything]), kind="stable")
    for name, values in together.items():
        np.testing.assert_array_equal(values, np.concatenate([rows[name] for rows in everything])[order])
    of_segment = [set(rows["segment"].tolist()) for rows in found]
    assert sum(map(len, of_segment)) == len(set.union(*of_segment))  # no segment is divided
    _, counts = np.unique(together["segment"], return_counts=True)
    assert max(len(rows["segment"]) for rows in found) < at_once + counts.max()


def test_closed_rows_are_left_out_and_constants_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _tables(tmp_path, monkeypatch)[0]
    more = {"block": np.array([[4, 5, 6]], np.int32)}
    (rows,) = ranges([Source(first.tables, first.index, "key", only_open=True, more=more)])
    stored = first.tables.read(first.index)
    np.testing.assert_array_equal(rows["value"], stored["value"][stored["closed"] == 0])
    assert rows["block"].tolist() == [[4, 5, 6]] * len(rows["value"])


def test_no_rows_give_no_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(ranges(_tables(tmp_path, monkeypatch)[3:])) == list(ranges([])) == []


def test_a_table_of_another_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _tables(tmp_path, monkeypatch)[0]
    with pytest.raises(DamageError, match="other fragments"):
        list(ranges([Source(first.tables, first.index, "another")]))


def test_a_torn_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = _tables(tmp_path, monkeypatch)
    path = sources[1].tables.path(sources[1].index)
    content = bytearray(path.read_bytes())
    content[200:230] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(DamageError, match=str(path)):
        list(ranges(sources))
