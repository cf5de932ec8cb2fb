"""Agglomeration by a quantile of affinities against a brute-force oracle, whole and divided, and against waterz."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import waterz
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_pipeline.kernels.agglomeration.agglomerate import Agglomeration, agglomerate
from fgnet_pipeline.kernels.agglomeration.histograms import sums_of
from fgnet_pipeline.kernels.agglomeration.merge_tree import check_tree, lut, sort_merges
from fgnet_pipeline.kernels.agglomeration.scores.quantile import SCORE as QUANTILE
from fgnet_pipeline.kernels.agglomeration.scores.quantile import value_at
from fgnet_pipeline.kernels.fragments.components import relabel_components
from fgnet_pipeline.kernels.region_graph import block_edges

Values = tuple[int, ...]
Graph = dict[tuple[int, int], Values]
PARTS = [(85, 100), (1, 2), (0, 1), (99, 100), (1, 3)]


def quantile(values: Values, part: tuple[int, int]) -> int:
    """The value that more than the share p / q of the values do not exceed, the smallest such one."""
    return sorted(values)[len(values) * part[0] // part[1]]


def random_graph(rng: np.random.Generator, nodes: int, edges: int, levels: int, counts: int) -> Graph:
    """Random simple graph over sparse ids, {(u, v): affinities}, with few distinct affinities."""
    ids = np.sort(rng.choice(10 * nodes, nodes, replace=False)) + 1
    scale = 255 // max(1, levels - 1)
    graph: Graph = {}
    for _ in range(edges):
        u, v = sorted(rng.choice(ids, 2, replace=False).tolist())
        graph[u, v] = tuple((scale * rng.integers(0, levels, int(rng.integers(1, counts + 1)))).tolist())
    return graph


def oracle(graph: Graph, part: tuple[int, int]) -> tuple[list[tuple], bool]:
    """(rows, whether the best edge was ever one of several equally good ones): one merge at a time."""
    graph, rows, tied = dict(graph), [], False
    while graph:
        scores = {edge: quantile(values, part) for edge, values in graph.items()}
        a, b = min(graph, key=lambda edge: (-scores[edge], edge))
        tied |= sum(score == scores[a, b] for score in scores.values()) > 1
        count = len(graph[a, b])
        rows.append((a, b, b, scores[a, b] * count, count))
        joined: Graph = {}
        for (u, v), values in graph.items():
            u, v = sorted((b if u == a else u, b if v == a else v))
            if u != v:
                joined[u, v] = joined.get((u, v), ()) + values
        graph = joined
    return rows, tied


def columns(graph: Graph) -> dict[str, Any]:
    ends = np.array(list(graph), np.uint64).reshape(-1, 2)
    bins = np.array([np.bincount(values, minlength=256) for values in graph.values()], np.uint32).reshape(-1, 256)
    count = bins.sum(1, dtype=np.uint64)
    return {"u": ends[:, 0], "v": ends[:, 1], "sum": sums_of(bins), "count": count, "histogram": bins}


def as_rows(arrays: tuple) -> list[tuple]:
    return list(zip(*(x.tolist() for x in arrays), strict=True))


def as_graph(left: Agglomeration) -> Graph:
    assert left.histogram is not None
    assert np.array_equal(left.sum, sums_of(left.histogram)) and np.array_equal(left.count, left.histogram.sum(1))
    values = [tuple(np.repeat(np.arange(256), row).tolist()) for row in left.histogram]
    return dict(zip(zip(left.u.tolist(), left.v.tolist(), strict=True), values, strict=True))


@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.sampled_from(PARTS))
@settings(deadline=None)
def test_value_at(values: list[int], part: tuple[int, int]) -> None:
    bins = np.bincount(values, minlength=256)
    assert value_at(bins, len(values), *part) == quantile(tuple(values), part)


@pytest.mark.parametrize("levels, counts", [(2, 1), (3, 4), (6, 9), (256, 12)])
def test_equals_oracle(levels: int, counts: int) -> None:
    rng = np.random.default_rng(levels)
    for trial in range(400):
        nodes = int(rng.integers(2, 14))
        graph = random_graph(rng, nodes, int(rng.integers(1, 4 * nodes)), levels, counts)
        part = PARTS[trial % len(PARTS)]
        result = agglomerate(**columns(graph), score=QUANTILE, part=part)
        assert as_rows(result.merges) == oracle(graph, part)[0]
        check_tree(result.merges)
        assert len(result.u) == 0 and result.histogram is not None and result.histogram.shape == (0, 256)


def divided(rng: np.random.Generator, graph: Graph, chunk: dict[int, int], levels: int, part: tuple[int, int]) -> list:
    """Rows of a binary hierarchy of chunks: an edge waits in the node that holds both ends."""
    waiting, residual, rows = dict(graph), {}, []
    for level in range(levels + 1):
        merged: dict[int, Graph] = {}
        inside = {edge: values for edge, values in waiting.items() if len({chunk[i] >> level for i in edge}) == 1}
        waiting = {edge: values for edge, values in waiting.items() if edge not in inside}
        frozen = np.array(sorted({i for edge in waiting for i in edge}), np.uint64)
        for node in {i >> level for i in chunk.values()}:
            edges = {edge: values for edge, values in inside.items() if chunk[edge[0]] >> level == node}
            for child in (2 * node, 2 * node + 1) if level else ():
                edges |= residual.get(child, {})
            order = rng.permutation(len(edges))
            shuffled = {list(edges)[i]: list(edges.values())[i] for i in order}
            result = agglomerate(**columns(shuffled), score=QUANTILE, part=part, frozen=frozen)
            rows += as_rows(result.merges)
            merged[node] = as_graph(result)
        residual = merged
    assert not any(residual.values())
    return rows


def test_divided_equals_whole() -> None:
    """The quantile of two contacts together is at most the better of the two: see docs/decisions/scores.md."""
    rng = np.random.default_rng(0)
    for trial in range(600):
        nodes = int(rng.integers(2, 16))
        graph = random_graph(rng, nodes, int(rng.integers(1, 4 * nodes)), trial % 5 + 2, trial % 7 + 1)
        ids = sorted({i for edge in graph for i in edge})
        levels, part = int(rng.integers(0, 4)), PARTS[trial % len(PARTS)]
        rows = divided(rng, graph, {i: int(rng.integers(0, 2**levels)) for i in ids}, levels, part)
        assert sorted(rows, key=lambda r: (-Fraction(r[3], r[4]), r[0], r[1])) == oracle(graph, part)[0]


def test_minimum_ends_at_the_score() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        graph = random_graph(rng, 10, 25, 6, 5)
        result = agglomerate(**columns(graph), score=QUANTILE, part=(85, 100), minimum=(1, 2))
        assert as_rows(result.merges) == [r for r in oracle(graph, (85, 100))[0] if 2 * r[3] >= 255 * r[4]]


def test_wide_histograms() -> None:
    """Counts that 32 bits do not hold."""
    graph = columns({(1, 2): (10, 200), (2, 3): (20, 100), (1, 3): (30,)})
    many = graph["histogram"].astype(np.uint64) * np.uint64(2**40)
    graph |= {"histogram": many, "sum": sums_of(many), "count": many.sum(1)}
    assert as_rows(agglomerate(**graph, score=QUANTILE, part=(1, 2)).merges) == [
        (1, 2, 2, 200 * 2**41, 2**41),
        (2, 3, 3, 30 * 3 * 2**40, 3 * 2**40),
    ]
    graph["count"] = graph["count"] * np.uint64(2**9)
    with pytest.raises(ValueError, match="add up"):
        agglomerate(**graph, score=QUANTILE, part=(1, 2))


def test_partition_equals_waterz_where_nothing_ties() -> None:
    """waterz takes equal scores in the order of its queue: only graphs where they never occur are compared."""
    rng = np.random.default_rng(3)
    compared = 0
    for _ in range(60):
        affinities = rng.integers(0, 256, (3, 4, 12, 12), dtype=np.uint8)
        fragments = rng.integers(1, 100, (1, 3, 3)).astype(np.uint64).repeat(4, 0).repeat(4, 1).repeat(4, 2)
        fragments = relabel_components(fragments)[0].astype(np.uint64)
        table = block_edges(affinities, fragments, (slice(None),) * 3, histogram=True)  # type: ignore[arg-type]
        assert table.histogram is not None
        values = [tuple(np.repeat(np.arange(256), row).tolist()) for row in table.histogram]
        graph = dict(zip(zip(table.u.tolist(), table.v.tolist(), strict=True), values, strict=True))
        rows, tied = oracle(graph, (85, 100))
        if tied:
            continue
        compared += 1
        tree = agglomerate(
            table.u, table.v, table.sum, table.count, histogram=table.histogram, score=QUANTILE, part=(85, 100)
        )
        assert as_rows(tree.merges) == rows
        ids = np.unique(fragments)
        for value in (rows[len(rows) // 3][3] // rows[len(rows) // 3][4], rows[-1][3] // rows[-1][4] + 1):
            theirs = by_waterz(affinities, fragments, value)
            ours = lut(ids, tree.merges, (value - 0.5) / 255)[np.searchsorted(ids, fragments)]
            pairs = np.unique(np.stack([theirs.ravel(), ours.ravel()], 1), axis=0)
            assert len(pairs) == len(np.unique(theirs)) == len(np.unique(ours))
    assert compared >= 15


def by_waterz(affinities: np.ndarray, fragments: np.ndarray, value: int) -> np.ndarray:
    """Merged while the quantile is at least ``value``: waterz scores bin v of 256 as 1 - (v + 1/2) / 256."""
    score = "OneMinus<HistogramQuantileAffinity<RegionGraphType, 85, ScoreValue, 256, false>>"
    scaled: Any = (affinities / 255).astype(np.float32)
    result = waterz.agglomerate(scaled, [1 - value / 256], fragments=fragments.copy(), scoring_function=score)
    return np.asarray(next(iter(result))).copy()


def test_canonical_order_is_that_of_sort_merges() -> None:
    rng = np.random.default_rng(5)
    result = agglomerate(**columns(random_graph(rng, 60, 300, 4, 6)), score=QUANTILE, part=(85, 100))
    shuffled = rng.permutation(len(result.merges.a))
    again = sort_merges(*(column[shuffled] for column in result.merges))
    assert as_rows(again) == as_rows(result.merges)
