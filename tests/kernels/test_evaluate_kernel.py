"""The contingency kernel against brute force and scikit-image."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency

metrics = pytest.importorskip("skimage.metrics")

Pair = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]

SHAPES = npst.array_shapes(min_dims=3, max_dims=3, max_side=5)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """A segmentation and labels of one shape, of few ids, large ones among them."""
    shape = draw(SHAPES)
    ids = st.sampled_from([0, 1, 2, 3, 2**40 + 1, 2**63 - 1])
    one = draw(npst.arrays(np.uint64, shape, elements=ids))
    return one, draw(npst.arrays(np.uint64, shape, elements=ids))


def rows(table: Contingency) -> Counter[tuple[int, int]]:
    listed = zip(table.segments.tolist(), table.labels.tolist(), table.counts.tolist(), strict=True)
    return Counter({(u, v): n for u, v, n in listed})


def brute(segmentation: npt.NDArray[np.uint64], labels: npt.NDArray[np.uint64]) -> Counter[tuple[int, int]]:
    listed = zip(segmentation.ravel().tolist(), labels.ravel().tolist(), strict=True)
    return Counter((u, v) for u, v in listed if v)


@settings(deadline=None)
@given(pairs())
def test_counts_equal_a_counter(pair: Pair) -> None:
    table = kernel.contingency(*pair)
    assert rows(table) == brute(*pair)
    keys = list(zip(table.segments.tolist(), table.labels.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert table.voxels == int((pair[1] != 0).sum())


def test_many_pairs_grow_the_hash_table() -> None:
    rng = np.random.default_rng(0)
    segmentation = rng.integers(0, 3000, 50_000).astype(np.uint64)
    labels = rng.integers(0, 40, 50_000).astype(np.uint64)
    assert rows(kernel.contingency(segmentation, labels)) == brute(segmentation, labels)


@settings(deadline=None)
@given(pairs(), st.integers(0, 5))
def test_tables_of_parts_add_up(pair: Pair, cut: int) -> None:
    one, other = pair
    parts = [kernel.contingency(one[:cut], other[:cut]), kernel.contingency(one[cut:], other[cut:])]
    assert rows(kernel.merge(reversed(parts))) == rows(kernel.contingency(one, other))


def test_entropies_equal_waterz() -> None:
    """A second program beside scikit-image; it leaves out voxels without a label, too."""
    import waterz

    rng = np.random.default_rng(1)
    segmentation, labels = (rng.integers(low, 9, (6, 7, 8)).astype(np.uint64) for low in (1, 0))
    theirs = waterz.evaluate(segmentation.copy(), labels.copy())
    ours = kernel.conditional_entropies(kernel.contingency(segmentation, labels))
    assert ours == pytest.approx((theirs["voi_split"], theirs["voi_merge"]))


@settings(deadline=None)
@given(pairs())
def test_scores_equal_scikit_image(pair: Pair) -> None:
    segmentation, labels = (np.unique(a, return_inverse=True)[1].reshape(a.shape) for a in pair)
    labels = np.where(pair[1] == 0, 0, labels + 1)
    if not labels.any():
        return
    table = kernel.contingency(*pair)
    expected = metrics.variation_of_information(labels, segmentation, ignore_labels=(0,))
    assert kernel.conditional_entropies(table) == pytest.approx(tuple(expected), abs=1e-9)
    error = kernel.adapted_rand_error(table)
    assert 0.0 <= error <= 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        theirs = metrics.adapted_rand_error(labels, segmentation)[0]
    if not math.isnan(theirs):
        assert error == pytest.approx(theirs, abs=1e-12)


def test_split_and_merge_are_not_swapped() -> None:
    labels = np.ones((1, 2, 4), np.uint64)
    halves = labels.copy()
    halves[..., 2:] = 2
    assert kernel.conditional_entropies(kernel.contingency(halves, labels)) == (1.0, 0.0)
    assert kernel.conditional_entropies(kernel.contingency(labels, halves)) == (0.0, 1.0)


@settings(deadline=None)
@given(pairs())
def test_equal_up_to_renaming_scores_exactly_zero(pair: Pair) -> None:
    labels = pair[0]
    renamed = np.where(labels == 0, 0, labels ^ np.uint64(2**50 + 12345))
    table = kernel.contingency(renamed.astype(np.uint64), labels)
    assert kernel.conditional_entropies(table) == (0.0, 0.0)
    assert kernel.adapted_rand_error(table) == 0.0


@settings(deadline=None)
@given(pairs(), st.lists(st.sampled_from([0, 7, 8, 2**62]), min_size=6, max_size=6))
def test_a_lut_on_the_table_equals_a_lut_on_the_voxels(pair: Pair, values: list[int]) -> None:
    fragments, labels = pair
    keys = np.array([0, 1, 2, 3, 2**40 + 1, 2**63 - 1], np.uint64)
    lut = np.array([0, *values[1:]], np.uint64)
    segmentation = lut[np.searchsorted(keys, fragments)]
    table = kernel.relabel(kernel.contingency(fragments, labels), keys[1:], lut[1:])
    assert rows(table) == brute(segmentation, labels)


def test_a_lut_must_hold_every_fragment_and_be_sorted() -> None:
    table = kernel.contingency(np.array([5, 6], np.uint64), np.array([1, 1], np.uint64))
    with pytest.raises(ValueError, match="lacks fragment 6"):
        kernel.relabel(table, np.array([5], np.uint64), np.array([5], np.uint64))
    with pytest.raises(ValueError, match="increasing"):
        kernel.relabel(table, np.array([6, 5], np.uint64), np.array([1, 1], np.uint64))
    with pytest.raises(ValueError, match="increasing"):
        kernel.relabel(table, np.array([5, 6], np.uint64), np.array([1], np.uint64))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=20))
def test_scores_of_volumes_far_beyond_memory_are_exact(counts: list[int]) -> None:
    sizes = np.array(counts, np.int64) * 2**15
    n = len(sizes)
    one_segment = Contingency(np.ones(n, np.uint64), np.arange(1, n + 1, dtype=np.uint64), sizes)
    total = sum(sizes.tolist())
    together = sum(c * (c - 1) for c in sizes.tolist())
    expected = 1 - 2 * together / (together + total * (total - 1))
    assert kernel.adapted_rand_error(one_segment) == pytest.approx(expected, abs=1e-12)
    entropy = -math.fsum(c / total * math.log2(c / total) for c in sizes.tolist())
    assert kernel.conditional_entropies(one_segment) == pytest.approx((0.0, entropy), abs=1e-9)


def test_empty_tables_score_nothing() -> None:
    table = kernel.merge([])
    assert len(table) == 0 and table.voxels == 0
    assert kernel.conditional_entropies(table) == (0.0, 0.0)
    assert kernel.adapted_rand_error(table) == 0.0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        kernel.contingency(np.zeros((2, 3), np.uint64), np.zeros((3, 2), np.uint64))
