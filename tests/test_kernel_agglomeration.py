"""Agglomeration against a brute-force oracle, whole and divided."""

from fractions import Fraction

import numpy as np
import pytest

from fgnet_pipeline.kernels.agglomeration import agglomerate

Row = tuple[int, int, int, int, int]


def random_graph(rng: np.random.Generator, nodes: int, edges: int, weights: int, counts: int) -> dict:
    """Random simple graph {(u, v): (sum, count)} over sparse ids, with few distinct means."""
    ids = np.sort(rng.choice(10 * nodes, nodes, replace=False)) + 1
    graph = {}
    for _ in range(edges):
        u, v = sorted(rng.choice(ids, 2, replace=False).tolist())
        count = int(rng.integers(1, counts + 1))
        graph[u, v] = (int(rng.integers(0, weights + 1)) * count, count)
    return graph


def oracle(graph: dict) -> list[Row]:
    """Merge the best edge, one at a time, by the contract's words."""
    graph = dict(graph)
    rows = []
    while graph:
        (a, b), (total, count) = min(graph.items(), key=lambda item: (-Fraction(*item[1]), item[0]))
        rows.append((a, b, b, total, count))
        joined: dict = {}
        for (u, v), (s, n) in graph.items():
            u, v = sorted((b if u == a else u, b if v == a else v))
            if u != v:
                old = joined.get((u, v), (0, 0))
                joined[u, v] = (old[0] + s, old[1] + n)
        graph = joined
    return rows


def columns(graph: dict) -> list[np.ndarray]:
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


def divided(rng: np.random.Generator, graph: dict, nodes: list, levels: int) -> list[Row]:
    """Agglomerate leaf by leaf of a random hierarchy of chunks; edges wait in the node that holds both ends."""
    chunk = {i: int(rng.integers(0, 2**levels)) for i in nodes}
    residual = {c: {} for c in range(2**levels)}
    pending = dict(graph)
    home = dict(chunk)
    rows: list[Row] = []
    for level in range(levels + 1):
        inside = {}
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
        rows = divided(rng, graph, ids, int(rng.integers(0, 4)))
        assert sorted(rows, key=lambda r: (-Fraction(r[3], r[4]), r[0], r[1])) == oracle(graph)
