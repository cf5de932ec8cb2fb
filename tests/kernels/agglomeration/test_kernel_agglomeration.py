"""Agglomeration against a brute-force oracle, whole and divided."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import waterz
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_pipeline.kernels.agglomeration.agglomerate import Agglomeration, agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut, sort_merges
from fgnet_pipeline.kernels.fragments.components import relabel_components
from fgnet_pipeline.kernels.region_graph import block_edges

Row = tuple[int, int, int, int, int]


Graph = dict[tuple[int, int], tuple[int, int]]


def random_graph(rng: np.random.Generator, nodes: int, edges: int, weights: int, counts: int) -> Graph:
    """Random simple graph {(u, v): (sum, count)} over sparse ids, with few distinct means."""
    ids = np.sort(rng.choice(10 * nodes, nodes, replace=False)) + 1
    graph: Graph = {}
    for _ in range(edges):
        u, v = sorted(rng.choice(ids, 2, replace=False).tolist())
        count = int(rng.integers(1, counts + 1))
        graph[u, v] = (int(rng.integers(0, weights + 1)) * count, count)
    return graph


def oracle(graph: Graph) -> list[Row]:
    """Merge the best edge, one at a time, by the contract's words."""
    graph = dict(graph)
    rows = []
    while graph:
        (a, b), (total, count) = min(graph.items(), key=lambda item: (-Fraction(*item[1]), item[0]))
        rows.append((a, b, b, total, count))
        joined: Graph = {}
        for (u, v), (s, n) in graph.items():
            u, v = sorted((b if u == a else u, b if v == a else v))
            if u != v:
                old = joined.get((u, v), (0, 0))
                joined[u, v] = (old[0] + s, old[1] + n)
        graph = joined
    return rows


def columns(graph: Graph) -> list[np.ndarray]:
    flat = [(u, v, s, n) for (u, v), (s, n) in graph.items()]
    return [np.array([row[i] for row in flat], np.uint64) for i in range(4)]


def as_rows(columns: tuple) -> list[tuple]:
    return list(zip(*(x.tolist() for x in columns), strict=True))


@pytest.mark.parametrize("weights,counts", [(1, 1), (2, 2), (3, 4), (255, 50)])
def test_equals_oracle(weights: int, counts: int) -> None:
    rng = np.random.default_rng(weights)
    for _ in range(500):
        nodes = int(rng.integers(2, 14))
        graph = random_graph(rng, nodes, int(rng.integers(1, 4 * nodes)), weights, counts)
        expected = oracle(graph)
        for widest in (0, 3, 512):
            result = agglomerate(*columns(graph), widest=widest)
            assert as_rows(result.merges) == expected
            assert len(result.u) == 0


def divided(rng: np.random.Generator, graph: Graph, chunk: dict[int, int], levels: int) -> list[Row]:
    """Agglomerate leaf by leaf of a binary hierarchy of chunks; edges wait in the node that holds both ends."""
    residual: dict[int, Graph] = {c: {} for c in range(2**levels)}
    pending = dict(graph)
    home = dict(chunk)
    rows: list[Row] = []
    for level in range(levels + 1):
        inside: dict[int, Graph] = {}
        for edge in list(pending):
            if home[edge[0]] >> level == home[edge[1]] >> level:
                inside.setdefault(home[edge[0]] >> level, {})[edge] = pending.pop(edge)
        leaving = {i for edge in pending for i in edge}
        merged = {}
        for c in {key >> (1 if level else 0) for key in residual} | set(inside):
            edges = dict(inside.get(c, {}))
            for child in (2 * c, 2 * c + 1) if level else (c,):
                assert not set(edges) & set(residual.get(child, {}))
                edges.update(residual.get(child, {}))
            frozen = np.array(sorted(leaving), np.uint64)
            result = agglomerate(*columns(edges), frozen=frozen, widest=int(rng.choice([0, 2, 5, 512])))
            rows += as_rows(result.merges)
            merged[c] = {(u, v): (s, n) for u, v, s, n in as_rows((result.u, result.v, result.sum, result.count))}
        residual = merged
    assert all(not edges for edges in residual.values())
    return rows


def test_divided_equals_whole() -> None:
    rng = np.random.default_rng(0)
    for trial in range(600):
        nodes = int(rng.integers(2, 16))
        graph = random_graph(rng, nodes, int(rng.integers(1, 4 * nodes)), trial % 4 + 1, trial % 3 + 1)
        ids = sorted({i for edge in graph for i in edge})
        levels = int(rng.integers(0, 4))
        rows = divided(rng, graph, {i: int(rng.integers(0, 2**levels)) for i in ids}, levels)
        assert sorted(rows, key=lambda r: (-Fraction(r[3], r[4]), r[0], r[1])) == oracle(graph)


def grid_graph(rng: np.random.Generator, side: int, weights: int) -> Graph:
    """Nodes 1.. on a grid in C order, joined to a random half of their 26 neighbours."""
    at = np.indices((side,) * 3).reshape(3, -1).T
    graph: Graph = {}
    for offset in itertools.product((-1, 0, 1), repeat=3):
        other = at + offset
        for i in np.flatnonzero(((other >= 0) & (other < side)).all(1)):
            j = int(np.ravel_multi_index(tuple(other[i]), (side,) * 3))
            if i < j and rng.random() < 0.5:
                count = int(rng.integers(1, 20))
                graph[int(i) + 1, j + 1] = (int(rng.integers(0, weights + 1)) * count, count)
    return graph


@pytest.mark.parametrize("weights", [3, 255])
def test_octree_over_space_equals_whole(weights: int) -> None:
    rng = np.random.default_rng(weights)
    side = 12
    graph = grid_graph(rng, side, weights)
    corner = np.indices((side,) * 3).reshape(3, -1).T * 4 // side
    chunk = {
        i + 1: sum(int(c[a] >> k & 1) << (3 * k + a) for k in range(2) for a in range(3)) for i, c in enumerate(corner)
    }
    rows = divided(rng, graph, chunk, 6)
    whole = agglomerate(*columns(graph)).merges
    assert sort_merges(*(np.array(x, np.uint64) for x in zip(*rows, strict=True))).a.tolist() == whole.a.tolist()
    assert sorted(rows) == sorted(as_rows(whole))


@pytest.mark.parametrize("minimum", [None, (1, 2)])
@pytest.mark.parametrize("share", [0, 0.02, 0.3])
def test_strategies_agree_on_larger_graphs(share: float, minimum: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(5)
    graph = columns(grid_graph(rng, 14, 255))
    frozen = (np.flatnonzero(rng.random(14**3) < share) + 1).astype(np.uint64)
    first, *others = (agglomerate(*graph, frozen=frozen, minimum=minimum, widest=w) for w in (0, 30, 512))
    assert len(first.merges.a) > 400
    for other in others:
        assert all(np.array_equal(x, y) for x, y in zip(first.merges, other.merges, strict=True))
        assert residual_rows(first) == residual_rows(other)


SHAPES = {
    "star": lambda n: [(i, n) for i in range(1, n)],
    "star of small names": lambda n: [(1, i) for i in range(2, n + 1)],
    "path": lambda n: [(i, i + 1) for i in range(1, n)],
    "complete": lambda n: [(i, j) for i in range(1, n + 1) for j in range(i + 1, n + 1)],
    "two stars": lambda n: [(i, n - i % 2) for i in range(1, n - 1)] + [(n - 1, n)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [0, 1, 100])
def test_graphs_with_giants(shape: str, weights: int) -> None:
    rng = np.random.default_rng(7)
    counts = {edge: int(rng.integers(1, 4)) for edge in SHAPES[shape](24)}
    graph = {edge: (int(rng.integers(0, weights + 1)) * n, n) for edge, n in counts.items()}
    expected = oracle(graph)
    for widest in (0, 1, 4, 512):
        assert as_rows(agglomerate(*columns(graph), widest=widest).merges) == expected


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**31), minimum=st.tuples(st.integers(0, 6), st.integers(6, 9)))
def test_minimum_cuts_the_global_tree(seed: int, minimum: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 10, 30, 8, 4)
    graph = {edge: (s * 30, n) for edge, (s, n) in graph.items()}
    expected = [r for r in oracle(graph) if Fraction(r[3], 255 * r[4]) >= Fraction(*minimum)]
    for widest in (0, 3, 512):
        result = agglomerate(*columns(graph), minimum=minimum, widest=widest)
        assert as_rows(result.merges) == expected
        assert all(Fraction(s, 255 * n) < Fraction(*minimum) for _, _, s, n in residual_rows(result))


def residual_rows(result: Agglomeration) -> list[tuple]:
    return as_rows((result.u, result.v, result.sum, result.count))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    share=st.floats(0, 1),
    minimum=st.one_of(st.none(), st.tuples(st.integers(0, 8), st.just(8))),
)
def test_frozen_clusters_stay(seed: int, share: float, minimum: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(seed)
    graph = {edge: (s * 60, n) for edge, (s, n) in random_graph(rng, 14, 40, 4, 3).items()}
    ids = sorted({i for edge in graph for i in edge})
    frozen = [i for i in ids if rng.random() < share]
    some = np.array(frozen, np.uint64)
    results = [agglomerate(*columns(graph), frozen=some, minimum=minimum, widest=w) for w in (0, 2, 512)]
    rows, left = as_rows(results[0].merges), residual_rows(results[0])
    assert all(as_rows(r.merges) == rows and residual_rows(r) == left for r in results)
    assert not {i for row in rows for i in row[:2]} & set(frozen)
    assert results[0].clusters.tolist() == sorted({i for row in left for i in row[:2]})
    assert [row[:2] for row in left] == sorted({row[:2] for row in left})
    # Nothing is lost: every edge of the table lies inside a cluster or in the residual.
    name = {i: i for i in ids}
    for a, b, *_ in rows:
        name = {i: b if n == a else n for i, n in name.items()}
    between: dict = {}
    for (u, v), (s, n) in graph.items():
        x, y = sorted((name[u], name[v]))
        if x != y:
            old = between.get((x, y), (0, 0))
            between[x, y] = (old[0] + s, old[1] + n)
    assert {row[:2]: row[2:] for row in left} == between


def test_order_of_rows_and_size_of_ids_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        graph = random_graph(rng, 12, 30, 3, 3)
        far = 2**63 - 200
        moved = {(u + far, v + far): x for (u, v), x in graph.items()}
        shuffled = rng.permutation(len(graph))
        result = agglomerate(*(x[shuffled] for x in columns(moved)))
        assert [(a - far, b - far, p - far, s, n) for a, b, p, s, n in as_rows(result.merges)] == oracle(graph)


def test_counts_beyond_float64() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        graph = random_graph(rng, 8, 20, 3, 1)
        graph = {edge: (s * 2**50 + int(rng.integers(0, 2)), 2**50) for edge, (s, _) in graph.items()}
        for widest in (0, 512):
            assert as_rows(agglomerate(*columns(graph), widest=widest).merges) == oracle(graph)
    with pytest.raises(ValueError, match="add up"):
        agglomerate(*columns({(1, 2): (2**62, 2**60)}))


def test_no_edges() -> None:
    empty = np.zeros(0, np.uint64)
    result = agglomerate(empty, empty, empty, empty, frozen=np.array([3], np.uint64))
    assert len(result.merges.a) == len(result.u) == len(result.clusters) == 0


def tie_free_graph(rng: np.random.Generator, nodes: int) -> Graph:
    graph = random_graph(rng, nodes, 6 * nodes, 0, 1)
    counts = {edge: int(rng.integers(10**6, 10**8)) for edge in graph}
    return {edge: (int(rng.integers(0, 255 * n)), n) for edge, n in counts.items()}


def same_partition(x: np.ndarray, y: np.ndarray) -> bool:
    pairs = len(np.unique(np.stack([x.astype(np.int64), y.astype(np.int64)], 1), axis=0))
    return pairs == len(np.unique(x)) == len(np.unique(y))


def test_partition_equals_higra_without_ties() -> None:
    higra = pytest.importorskip("higra")
    rng = np.random.default_rng(11)
    for _ in range(20):
        u, v, total, count = columns(tie_free_graph(rng, 300))
        ids, ends = np.unique(np.concatenate([u, v]), return_inverse=True)
        graph = higra.UndirectedGraph(len(ids))
        graph.add_edges(ends[: len(u)], ends[len(u) :])
        tree, heights = higra.binary_partition_tree_average_linkage(graph, 255 - total / count, count.astype(float))
        merges = agglomerate(u, v, total, count).merges
        for threshold in (0.3, 0.5, 0.7):
            theirs = higra.labelisation_horizontal_cut_from_threshold(tree, heights, 255 * (1 - threshold))
            assert same_partition(theirs, lut(ids, merges, threshold))


def test_partition_equals_waterz_on_a_volume() -> None:
    rng = np.random.default_rng(12)
    affinities = rng.integers(0, 256, (3, 16, 20, 24), dtype=np.uint8)
    fragments = rng.integers(1, 300, (4, 5, 6)).astype(np.uint64).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    fragments = relabel_components(fragments)[0].astype(np.uint64)
    edges = block_edges(affinities, fragments, (slice(None), slice(None), slice(None)))
    merges = agglomerate(edges.u, edges.v, edges.sum, edges.count).merges
    ids = np.unique(fragments)
    scaled: Any = (affinities / 255).astype(np.float32)
    for threshold in (0.48, 0.5, 0.52):
        theirs = np.asarray(next(waterz.agglomerate(scaled, [1 - threshold], fragments=fragments.copy()))).ravel()
        ours = lut(ids, merges, threshold)[np.searchsorted(ids, fragments.ravel())]
        assert len(np.unique(ours)) > 2
        assert same_partition(theirs, ours)
