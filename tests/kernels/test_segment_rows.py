"""Rows of fragments summed up to rows of segments, compared with plain loops."""

from __future__ import annotations

import numpy as np

from fgnet_pipeline.kernels.segment_rows import by_segment, concatenated, of_fragments


def test_rows_of_segments() -> None:
    """Three segments of random fragments, summed up at once and in two parts."""
    rng = np.random.default_rng(3)
    n = 60
    begin = rng.integers(0, 50, (n, 3))
    rows = {
        "id": rng.permutation(n).astype(np.uint64) + 1, "voxels": rng.integers(1, 9, n), "begin": begin,
        "end": begin + rng.integers(1, 9, (n, 3)), "point": begin,
    }  # fmt: skip
    segment = rng.integers(1, 4, n).astype(np.uint64)
    single = of_fragments(segment, rows)
    found = by_segment(single)
    parts = [{name: values[half] for name, values in single.items()} for half in (slice(0, 31), slice(31, n))]
    again = by_segment(concatenated([by_segment(part) for part in parts]))
    for i, name in enumerate(found["segment"]):
        mine = segment == name
        largest = max(zip(rows["voxels"][mine], -rows["id"][mine].astype(int), strict=True))
        assert found["voxels"][i] == rows["voxels"][mine].sum() and found["fragments"][i] == mine.sum()
        assert (found["begin"][i] == begin[mine].min(0)).all() and (found["end"][i] == rows["end"][mine].max(0)).all()
        assert (found["largest"][i], -int(found["id"][i])) == largest
        assert (found["point"][i] == rows["point"][rows["id"] == found["id"][i]]).all()
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert len(by_segment({name: values[:0] for name, values in single.items()})["segment"]) == 0
