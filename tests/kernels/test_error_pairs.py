"""What an error costs, against the fall of the VOI when both parts are made one; and the place of a contact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.error_pairs import contact, deepest_voxel, worst_pairs

metrics = pytest.importorskip("skimage.metrics")
IDS = npst.arrays(np.uint64, 60, elements=st.integers(1, 4))


@settings(deadline=None)
@given(IDS, IDS)
def test_bits_are_the_fall_of_the_voi(segments: np.ndarray, labels: np.ndarray) -> None:
    table = kernel.contingency(segments, labels)
    before = metrics.variation_of_information(labels.astype(int), segments.astype(int))[0]
    pairs = worst_pairs(table.labels, table.segments, table.counts, table.voxels, 100)
    assert [pair.bits for pair in pairs] == sorted((pair.bits for pair in pairs), reverse=True)
    for pair in pairs:
        joined = np.where((labels == pair.whole) & (segments == pair.other), pair.one, segments).astype(int)
        after = metrics.variation_of_information(labels.astype(int), joined)[0]
        assert pair.bits == pytest.approx(before - after, abs=1e-9) and pair.bits > 0
        assert pair.voxels == int(((labels == pair.whole) & (segments == pair.other)).sum()) <= pair.voxels_one
    parts = {label: len(np.unique(segments[labels == label])) for label in np.unique(labels)}
    assert len(pairs) == sum(parts.values()) - len(parts)


def test_rows_of_one_pair_are_added_up_and_the_limit_holds() -> None:
    whole, part = np.array([7, 7, 7, 8], np.uint64), np.array([1, 2, 2, 1], np.uint64)
    (pair,) = worst_pairs(whole, part, np.array([5, 4, 3, 9]), 100, 5)
    assert (pair.whole, pair.one, pair.other, pair.voxels_one, pair.voxels) == (7, 2, 1, 7, 5)
    assert worst_pairs(whole, part, np.array([5, 4, 3, 9]), 100, 0) == []
    empty = np.zeros(0, np.uint64)
    assert worst_pairs(empty, empty, np.zeros(0, np.int64), 0, 5) == []


@settings(deadline=None, max_examples=50)
@given(npst.arrays(np.uint8, (5, 6, 7), elements=st.integers(0, 2)), st.tuples(*[st.integers(1, 7)] * 3))
def test_contacts_of_blocks_add_up(ids: np.ndarray, block: tuple[int, int, int]) -> None:
    one, other = ids == 1, ids == 2
    faces = 0
    for axis in range(3):
        a, b = (np.moveaxis(x, axis, 0) for x in (one, other))
        faces += int((a[1:] & b[:-1]).sum() + (b[1:] & a[:-1]).sum())
    found = 0
    for begin in np.ndindex(*(-(-n // b) for n, b in zip(ids.shape, block, strict=True))):
        low = np.multiply(begin, block)
        core = np.minimum(np.add(low, block), ids.shape) - low
        piece = tuple(slice(b, b + n + 1) for b, n in zip(low, core, strict=True))
        count, voxel = contact(one[piece], other[piece], tuple(core.tolist()))
        found += count
        assert (voxel is None) == (count == 0)
        assert voxel is None or other[piece][voxel]
    assert found == faces


def test_the_places_of_two_boxes() -> None:
    one, other = np.zeros((2, 9, 9, 9), bool)
    one[1:8, 1:8, 1:4], other[1:8, 1:8, 4:8] = True, True
    assert contact(one, other, (9, 9, 9)) == (49, (4, 4, 4))
    assert contact(other, one, (9, 9, 9)) == (49, (4, 4, 3))
    assert contact(one, one & False, (9, 9, 9)) == (0, None)
    assert deepest_voxel(one, (1.0, 1.0, 1.0)) == (2, 2, 2)  # the first of all in the middle plane
    assert deepest_voxel(np.ones((1, 5, 5), bool), (40.0, 4.0, 4.0)) == (0, 2, 2)
