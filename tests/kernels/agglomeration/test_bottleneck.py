"""The path of best edges, compared with all paths of small random graphs."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.bottleneck import bottleneck_path
from fgnet_pipeline.kernels.agglomeration.growth import joining_rows

Columns = tuple[np.ndarray, ...]


def random_graph(rng: np.random.Generator) -> Columns:
    """u, v, sum, count of a sparse graph of up to nine fragments; many means are equal."""
    names = np.sort(rng.choice(np.arange(1, 100), rng.integers(4, 10), replace=False)).astype(np.uint64)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if rng.random() < 0.4]
    pairs = pairs or [(names[0], names[1])]
    u, v = np.array(pairs, np.uint64).T
    count = rng.integers(1, 4, len(u)).astype(np.uint64)
    return u, v, rng.integers(0, 5, len(u)).astype(np.uint64) * count // 2, count


def scores_of(columns: Columns) -> dict[tuple[int, int], Fraction]:
    return {(int(u), int(v)): Fraction(int(s), 255 * int(n)) for u, v, s, n in zip(*columns, strict=True)}


def strongest(columns: Columns, begins: list[int], ends: list[int]) -> Fraction | None:
    """The weakest edge of the best of all simple paths between two clusters; edges inside a cluster cost nothing."""
    scores = scores_of(columns)
    graph = nx.Graph(list(scores))
    graph.add_nodes_from([*begins, *ends])
    for cluster in (begins, ends):
        graph.add_edges_from(pairwise(cluster))
    inner = {frozenset(pair) for cluster in (begins, ends) for pair in pairwise(cluster)}
    best = None
    for path in nx.all_simple_paths(graph, begins[0], ends[0]):
        steps = [tuple(sorted(s)) for s in pairwise(path)]
        weakest = min((scores[s] for s in steps if frozenset(s) not in inner), default=None)
        if weakest is not None and (best is None or weakest > best):
            best = weakest
    return best


@pytest.mark.parametrize("seed", range(60))
def test_no_path_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = random_graph(rng)
    names = rng.permutation(np.unique(np.concatenate(columns[:2])))
    first = max(1, min(int(rng.integers(1, 4)), len(names) - 1))
    begins, ends = np.sort(names[:first]), np.sort(names[first : first + int(rng.integers(1, 4))])
    rows = bottleneck_path(*columns, begins, ends)
    best = strongest(columns, begins.tolist(), ends.tolist())
    if rows is None:
        assert best is None
        return
    scores = scores_of(columns)
    edges = [(int(columns[0][i]), int(columns[1][i])) for i in rows]
    assert min(scores[edge] for edge in edges) == best
    here = set(begins.tolist())
    for u, v in edges:  # a path: each edge goes on from where the one before ended
        assert (u in here) != (v in here)
        here = {v if u in here else u}
    assert here <= set(ends.tolist())


@pytest.mark.parametrize("seed", range(20))
def test_the_tree_joins_never_above_the_weakest_edge(seed: int) -> None:
    columns = random_graph(np.random.default_rng(seed))
    merges, names = agglomerate(*columns).merges, np.unique(np.concatenate(columns[:2]))
    for one in range(len(names)):
        for other in range(one + 1, len(names)):
            pair = names[[one]], names[[other]]
            row, rows = int(joining_rows(names, merges, *pair)[0]), bottleneck_path(*columns, *pair)
            assert (row < 0) == (rows is None)
            if rows is not None:
                joined = Fraction(int(merges.sum[row]), 255 * int(merges.count[row]))
                assert joined <= min(Fraction(int(columns[2][i]), 255 * int(columns[3][i])) for i in rows)


def test_fragments_without_an_edge() -> None:
    u, v = np.array([1], np.uint64), np.array([2], np.uint64)
    one = np.array([1], np.uint64)
    assert bottleneck_path(u, v, one, one, u, np.array([7], np.uint64)) is None
    nothing = np.zeros(0, np.uint64)
    assert bottleneck_path(nothing, nothing, nothing, nothing, u, v) is None
