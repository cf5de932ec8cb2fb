"""Expected run length, splits and mergers against loops over all pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_pipeline.kernels.run_length import Graph, perfectly_merged, run_lengths


def path(segments: list[int], skeleton: list[int] | None = None, step: float = 10.0) -> Graph:
    """Nodes in a row. Neighbours of one skeleton are joined by an edge of `step` nm."""
    owner = np.array(skeleton or [0] * len(segments))
    edges = np.array([(i, i + 1) for i in range(len(owner) - 1) if owner[i] == owner[i + 1]]).reshape(-1, 2)
    count = int(owner.max()) + 1
    return Graph(owner, np.array(segments, np.uint64), edges, np.full(len(edges), step), count)


def test_a_perfect_segmentation_has_the_longest_runs() -> None:
    found = run_lengths(path([1, 1, 1, 2, 2], [0, 0, 0, 1, 1]))
    assert found.expected == found.longest == pytest.approx((20**2 + 10**2) / 30)
    assert found.normalised == 1.0 and len(found.mergers) == 0
    assert found.pieces.tolist() == [1, 1]


def test_a_split_halves_the_runs() -> None:
    found = run_lengths(path([1, 1, 1, 2, 2, 2]))
    assert found.expected == pytest.approx((20**2 + 20**2) / 50)
    assert found.split_edges.tolist() == [1] and found.pieces.tolist() == [2]


def test_a_merger_takes_the_runs_of_both_skeletons() -> None:
    found = run_lengths(path([1, 1, 1, 1, 3, 3], [0, 0, 0, 1, 1, 1]))
    assert found.mergers.tolist() == [1]
    assert found.merged_edges.tolist() == [2, 0] and found.split_edges.tolist() == [0, 1]
    assert found.per_skeleton.tolist() == [0.0, 10**2 / 20]


def test_one_stray_node_is_no_merger_if_two_are_asked_for() -> None:
    graph = path([1, 1, 1, 1, 3, 3], [0, 0, 0, 1, 1, 1])
    assert run_lengths(graph, merge_nodes=2).mergers.tolist() == []


def test_background_has_no_runs() -> None:
    found = run_lengths(path([1, 1, 0, 1, 1]))
    assert found.omitted_edges.tolist() == [2]
    assert found.expected == pytest.approx(20**2 / 40)  # both pieces lie in one segment: they are one run


def test_no_skeletons_give_zero() -> None:
    none = np.zeros(0, np.int64)
    found = run_lengths(Graph(none, none.astype(np.uint64), none.reshape(0, 2), np.zeros(0), 0))
    assert (found.expected, found.normalised) == (0.0, 0.0)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random trees with random segments; ids differ in the low bits of 63."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    base = draw(st.sampled_from([0, (1 << 62) + 1]))
    owner, edges = [], []
    for skeleton, size in enumerate(sizes):
        first = len(owner)
        owner += [skeleton] * size
        edges += [(draw(st.integers(first, first + i - 1)), first + i) for i in range(1, size)]
    segments = [draw(st.integers(0, 4)) for _ in owner]
    lengths = [draw(st.floats(0.5, 100)) for _ in edges]
    ids = np.array([s and s + base for s in segments], np.uint64)
    return Graph(np.array(owner), ids, np.array(edges, np.int64).reshape(-1, 2), np.array(lengths), len(sizes))


@settings(deadline=None, max_examples=300)
@given(graphs(), st.integers(1, 3))
def test_as_a_loop_over_all_pieces(graph: Graph, merge_nodes: int) -> None:
    found = run_lengths(graph, merge_nodes)
    expected, total, longest, mergers = brute_force(graph, merge_nodes)
    assert found.expected == pytest.approx(expected / total if total else 0.0)
    assert found.longest == pytest.approx(longest / total if total else 0.0)
    assert set(found.mergers.tolist()) == mergers
    kinds = found.split_edges.sum() + found.omitted_edges.sum() + found.merged_edges.sum()
    assert kinds <= len(graph.edges) and 0 <= found.normalised <= 1 + 1e-9


def brute_force(graph: Graph, merge_nodes: int) -> tuple[float, float, float, set[int]]:
    """Sum of squared pieces, whole length, sum of squared skeletons, mergers: by dictionaries."""
    nodes: dict[int, dict[int, int]] = {}
    for segment, skeleton in zip(graph.segment.tolist(), graph.skeleton.tolist(), strict=True):
        if segment:
            held = nodes.setdefault(segment, {})
            held[skeleton] = held.get(skeleton, 0) + 1
    mergers = {s for s, held in nodes.items() if sum(n >= merge_nodes for n in held.values()) > 1}
    pieces: dict[tuple[int, int], float] = {}
    lengths = [0.0] * graph.count
    for (a, b), length in zip(graph.edges.tolist(), graph.lengths.tolist(), strict=True):
        skeleton, one, other = int(graph.skeleton[a]), int(graph.segment[a]), int(graph.segment[b])
        lengths[skeleton] += length
        if one and one == other and one not in mergers:
            pieces[skeleton, one] = pieces.get((skeleton, one), 0.0) + length
    return sum(v * v for v in pieces.values()), sum(lengths), sum(v * v for v in lengths), mergers


def partitions(items: list[int]) -> Iterator[dict[int, int]]:
    """All ways to merge fragments: fragment -> number of its segment."""
    if not items:
        yield {}
        return
    *rest, last = items
    for found in partitions(rest):
        for segment in range(len(set(found.values())) + 1):
            yield {**found, last: segment}


@settings(deadline=None, max_examples=200)
@given(graphs(), st.integers(1, 3))
def test_perfect_merging_is_the_best_of_all(graph: Graph, merge_nodes: int) -> None:
    fragments = sorted(set(graph.segment.tolist()) - {0})
    scores = []
    for merging in partitions(fragments):
        lut = {0: 0} | {fragment: segment + 1 for fragment, segment in merging.items()}
        merged = np.array([lut[fragment] for fragment in graph.segment.tolist()], np.uint64)
        scores.append(run_lengths(replace(graph, segment=merged), merge_nodes).expected)
    found = run_lengths(perfectly_merged(graph, merge_nodes), merge_nodes).expected
    alone = run_lengths(graph, merge_nodes).expected
    assert alone <= found + 1e-9 and found <= max(scores) + 1e-9
    if merge_nodes == 1:
        assert found == pytest.approx(max(scores))


def test_a_fragment_of_two_skeletons_stays_alone() -> None:
    graph = path([1, 2, 3, 3, 4, 5], [0, 0, 0, 1, 1, 1])
    merged = perfectly_merged(graph).segment.tolist()
    assert merged[0] == merged[1] and merged[4] == merged[5] and merged[2] == merged[3]
    assert len({merged[0], merged[2], merged[4]}) == 3
    assert run_lengths(perfectly_merged(graph)).expected == pytest.approx((10**2 + 10**2) / 40)
    few = perfectly_merged(graph, merge_nodes=2).segment.tolist()
    assert few[:4] == [few[0]] * 4 and few[4:] == [few[4]] * 2 and few[0] != few[4]
