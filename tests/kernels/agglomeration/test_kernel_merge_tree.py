"""Order, cuts and LUTs of merge trees against exact fractions, and damaged tables."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.exact_means import compare_fractions, compare_means, product
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, check_edges, check_tree, cut, lut, sort_merges

big = st.integers(1, 2**55)


def uint(*columns: Any) -> Any:
    return [np.array(x, np.uint64) for x in columns]


def random_edges(seed: int, nodes: int, edges: int, weights: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    pairs = {tuple(sorted(rng.choice(3 * nodes, 2, replace=False) + 1)) for _ in range(edges)}
    count = rng.integers(1, 4, len(pairs))
    return uint(*np.array(sorted(pairs)).T, rng.integers(0, weights + 1, len(pairs)) * 255 // weights * count, count)


@settings(max_examples=300, deadline=None)
@given(x=st.integers(0, 2**63 - 1), y=st.integers(0, 2**63 - 1))
def test_product_is_exact(x: int, y: int) -> None:
    high, low = product(x, y)
    assert int(high) * 2**64 + int(low) == x * y


@settings(max_examples=300, deadline=None)
@given(a=big, b=big, c=big, d=big, near=st.booleans())
def test_means_compare_as_fractions(a: int, b: int, c: int, d: int, near: bool) -> None:
    if near:  # the closest fractions there are: 1 / (b * d) apart
        c, d = a + a // b, b + 1
    expected = (Fraction(a, b) > Fraction(c, d)) - (Fraction(a, b) < Fraction(c, d))
    assert compare_fractions(a, b, c, d) == expected
    assert compare_means(a / b, a, b, c / d, c, d) == expected


def test_order_beyond_float64() -> None:
    count = 2**54
    total = [200 * count, 200 * count + 1, 200 * count + 3, 200 * count + 2, 200 * count + 2]
    a, b = [1, 2, 3, 5, 4], [9, 9, 9, 9, 9]
    rows = sort_merges(*uint(a, b, b, total, [count] * 5))
    assert rows.a.tolist() == [3, 4, 5, 2, 1]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(0, 60))
def test_order_equals_sorting_fractions(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, total, count = (rng.integers(1, 6, n).tolist() for _ in range(4))
    rows = sort_merges(*uint(a, b, b, total, count))
    expected = sorted(zip(a, b, total, count, strict=True), key=lambda r: (-Fraction(r[2], r[3]), r[0], r[1]))
    got = zip(*(x.tolist() for x in (rows.a, rows.b, rows.sum, rows.count)), strict=True)
    assert [(a, b, Fraction(s, c)) for a, b, s, c in got] == [(a, b, Fraction(s, c)) for a, b, s, c in expected]


@settings(max_examples=200, deadline=None)
@given(
    threshold=st.one_of(st.integers(0, 100).map(lambda i: i / 100), st.floats(0, 1)),
    counts=st.lists(st.integers(1, 2**50), min_size=1, max_size=20),
)
def test_cut_is_exact_in_decimal(threshold: float, counts: list[int]) -> None:
    wanted = Fraction(str(threshold))
    at = [wanted * 255 * c for c in counts]
    total = [max(0, int(x) + d) for x in at for d in (-1, 0, 1)]
    count = [c for c in counts for _ in range(3)]
    ids = list(range(1, len(total) + 1))
    got = cut(*uint(ids, ids, total, count), threshold=threshold)
    assert got.tolist() == [Fraction(s, 255 * c) >= wanted for s, c in zip(total, count, strict=True)]


def test_a_tenth_means_a_tenth() -> None:
    assert Fraction(0.1) > Fraction(1, 10)
    assert cut(*uint([1], [2], [51], [2]), threshold=0.1).all()
    assert not cut(*uint([1], [2], [50], [2]), threshold=0.1).any()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**31), nodes=st.integers(2, 25), threshold=st.sampled_from([0, 0.2, 1 / 3, 0.5, 0.8, 1]))
def test_lut_is_connected_components_of_the_applied_rows(seed: int, nodes: int, threshold: float) -> None:
    merges = agglomerate(*random_edges(seed, nodes, 3 * nodes, 5)).merges
    ids = np.arange(1, 3 * nodes + 1, dtype=np.uint64)
    segment = {int(i): {int(i)} for i in ids}
    for a, b, _, total, count in zip(*(x.tolist() for x in merges), strict=True):
        if Fraction(total, 255 * count) >= Fraction(str(float(threshold))):
            joined = segment[a] | segment[b]
            segment.update(dict.fromkeys(joined, joined))
    assert lut(ids, merges, threshold).tolist() == [max(segment[int(i)]) for i in ids]


def test_lut_continues_at_the_roots_of_the_parent_node() -> None:
    whole = Merges(*uint([1, 2, 3], [2, 3, 4], [2, 3, 4], [200, 150, 100], [1, 1, 1]))
    child = Merges(*(x[:1] for x in whole))
    parent = Merges(*(x[1:] for x in whole))
    for threshold in (0.0, 0.3, 0.5, 0.7, 0.9):
        names = uint([2, 3, 4])[0]
        segments = lut(names, parent, threshold)
        got = lut(uint([1, 2])[0], child, threshold, (names, segments))
        assert got.tolist() == lut(uint([1, 2, 3, 4])[0], whole, threshold)[:2].tolist()


def test_names_outside_the_fragments_are_refused() -> None:
    merges = Merges(*uint([1], [2], [2], [200], [1]))
    with pytest.raises(DamageError, match="names fragment 2"):
        lut(uint([1, 3])[0], merges, 0.5)


GOOD_EDGES = ([1, 1, 2], [2, 3, 3], [5, 500, 0], [1, 2, 3])


@pytest.mark.parametrize(
    "fault, column, row, value",
    [
        ("background", 0, 0, 0),
        ("u < v", 1, 0, 1),
        ("count of 0", 3, 2, 0),
        ("above 255", 2, 0, 256),
        ("twice", 1, 1, 2),
        ("out of order", 0, 0, 2),
        ("does not exist", 1, 2, 8),
    ],
)
def test_damaged_edges_are_refused(fault: str, column: int, row: int, value: int) -> None:
    columns = uint(*(list(x) for x in GOOD_EDGES))
    ids = uint([1, 2, 3, 4])[0]
    check_edges(*columns, ids=ids)
    columns[column][row] = value
    if fault == "out of order":
        columns[1][0] = 9
        ids = uint([1, 2, 3, 9])[0]
    with pytest.raises(DamageError, match=fault):
        check_edges(*columns, ids=ids)


GOOD_TREE = ([1, 3, 4], [4, 4, 5], [4, 4, 5], [200, 190, 100], [1, 1, 2])


@pytest.mark.parametrize(
    "fault, changes",
    [
        ("background", {(0, 0): 0}),
        ("a < b", {(0, 1): 4}),
        ("larger of its pair", {(2, 2): 4}),
        ("count of 0", {(4, 0): 0}),
        ("above 255", {(3, 0): 300}),
        ("merged twice", {(0, 1): 1}),
        ("out of order", {(3, 2): 510}),
        ("its own parts", {(0, 0): 4, (1, 0): 5, (2, 0): 5, (0, 2): 1}),
        ("does not exist", {(0, 1): 2}),
    ],
)
def test_damaged_trees_are_refused(fault: str, changes: dict[tuple[int, int], int]) -> None:
    columns = uint(*(list(x) for x in GOOD_TREE))
    ids = uint([1, 3, 4, 5])[0]
    check_tree(Merges(*columns), ids)
    for (column, row), value in changes.items():
        columns[column][row] = value
    with pytest.raises(DamageError, match=fault):
        check_tree(Merges(*columns), ids)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), nodes=st.integers(2, 25))
def test_what_the_kernel_makes_passes_the_checks(seed: int, nodes: int) -> None:
    edges = random_edges(seed, nodes, 3 * nodes, 4)
    check_edges(*edges)
    check_tree(agglomerate(*edges).merges, np.unique(np.concatenate(edges[:2])))
