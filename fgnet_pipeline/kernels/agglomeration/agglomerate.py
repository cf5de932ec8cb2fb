"""Agglomeration of a region adjacency graph (RAG) to its merge tree: the whole graph, or one node of an octree.

Definitions. A cluster is named by the largest fragment id in it. An edge is better than another one if its score is
higher, compared exactly, or if the scores are equal and its pair (smaller name, larger name) comes first. The usual
score is the mean affinity sum / (255 * count). Global agglomeration merges the best edge until none is left; the
affinities of parallel edges are put together.

Steps of `agglomerate`:

1. Number the ids densely, in their order, so that names compare as before.
2. Merge pairs of clusters that are each other's best neighbour, in any order (`neighbour_merging`).
3. Clusters with very many neighbours, and clusters that wait for them, merge in order from a heap (`heap_merging`).
4. A cluster whose best edge leads to a frozen cluster freezes too. The edges between frozen clusters are the
   residual; if a minimum is given, so are the edges below it.
5. Sort the merges: score descending, a, b. This is the order in which the global agglomeration performs them.

Invariant: every merge is one that the global agglomeration does too, with the same sum and count. Every cluster that
is neither merged nor frozen has no edge left.

Reasons (docs/decisions/agglomeration-order.md has the whole argument):

- Reducibility. When x and y merge, the edge of the result to w is no better than the better one of (x, w) and (y, w).
  Its mean is the weighted mean of theirs. At equal means its pair does not come earlier, since names only grow. (If
  clusters were named by the smallest id, pairs could move forward, and the result would depend on the order.)
- So two clusters that are each other's best neighbour stay so, whatever else merges, until the global agglomeration
  merges them: merging them early gives the same row. No merge creates an edge better than the merged one, so rows
  come sorted.
- Freezing. A frozen cluster may have better edges outside the table, or change before its edges are known. A cluster
  whose best neighbour is frozen can do nothing before that neighbour does, so it waits. All others see no difference.

Divide and conquer: a node of the octree takes the residual edges of its children and the edges between the children.
It freezes the clusters that have edges leaving the node. Such clusters were frozen in the children too, so they are
still single fragments at the end of the edge: edges between nodes never need new names. The root freezes nothing. The
merges of all nodes, sorted, are the global tree, however space was divided.

Memory: the table itself (32 bytes per edge), 64 bytes per edge and 100 per fragment more. A node of the octree holds
what its children left, of the order of the surface of their chunks. Time: a scan of a cluster's list costs at most
2 * `WIDEST` entries, the heap O(m log^2 m) in the worst case.

Scores of histograms (`scores`): the order is the same, with the score for the mean. Steps 1, 3, 4 and 5 are done, and
an edge takes 1 KiB more. The sum of a row is then score * count, so that the score of a row is sum / (255 * count)
for every score.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.agglomeration.heap_merging import Scoring, merge_by_heap
from fgnet_pipeline.kernels.agglomeration.histograms import LEVELS, sums_of, values_of
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, sort_merges
from fgnet_pipeline.kernels.agglomeration.neighbour_merging import (
    FROZEN,
    PUT_OFF,
    make_clusters,
    merge_neighbours,
    residual_edges,
)
from fgnet_pipeline.kernels.agglomeration.scores.mean import SCORE as MEAN
from fgnet_pipeline.kernels.agglomeration.scores.score import Part, Score
from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.hash_table import doubled, find

Ids = NDArray[np.uint64]

LARGEST_COUNT = 2**49
"""Affinities that all histograms of a table may hold together; a quantile multiplies them with up to 10^4."""

WIDEST = 512
"""A cluster with more neighbours is left to the heap; it bounds the cost of a scan and does not change the result."""


@dataclass(frozen=True)
class Agglomeration:
    """The merges of one run, and the edges that it could not decide.

    Attributes:
        merges: in canonical order.
        u: uint64 (m,), smaller name of each residual edge; edges are sorted by (u, v) and unique.
        v: uint64 (m,), larger name.
        sum: uint64 (m,), affinities 0..255 added up.
        count: uint64 (m,), number of affinities.
        clusters: uint64, sorted names of the clusters that have residual edges.
        histogram: uint32 or uint64 (m, 256) of the residual edges, if the score needs histograms; otherwise None.
    """

    merges: Merges
    u: Ids
    v: Ids
    sum: Ids
    count: Ids
    clusters: Ids
    histogram: NDArray[Any] | None = None


def agglomerate(
    u: Ids,
    v: Ids,
    sum: Ids,
    count: Ids,
    *,
    frozen: Ids | None = None,
    minimum: tuple[int, int] | None = None,
    widest: int = WIDEST,
    histogram: NDArray[Any] | None = None,
    score: Score = MEAN,
    part: Part | None = None,
) -> Agglomeration:
    """Merge in the contract's order: highest score first, ties by name.

    Args:
        u: uint64 (m,), smaller id of each edge; pairs are unique, in any order.
        v: uint64 (m,), larger id, below 2^63.
        sum: uint64 (m,), affinities 0..255 added up.
        count: uint64 (m,), number of affinities, above 0.
        frozen: uint64, ids that must stay, because edges outside this table touch them.
        minimum: numerator and denominator of the lowest score in [0, 1] that merges. Without it, and without frozen,
            every component becomes one cluster.
        widest: see `WIDEST`.
        histogram: unsigned (m, 256), how often each affinity occurs; the rows add up to count. Only read if the score
            needs it.
        score: see `Score`.
        part: the score's parameter.

    Raises:
        ValueError: All sums together reach 2^62, or all counts of histograms `LARGEST_COUNT`; or the score needs
            histograms and there are none.
    """
    largest = LARGEST_COUNT if score.needs_histogram else 2**62
    if sum.sum(dtype=np.float64) >= 2**62 or count.sum(dtype=np.float64) >= largest:
        raise ValueError("the affinities of this table add up to 2^62 or more: agglomerate smaller nodes")
    if score.needs_histogram and histogram is None:
        raise ValueError(f"the score {score.name!r} needs histograms")
    ids, ends = _densely(u, v)
    stuck = np.zeros(len(ids), np.bool_)
    if frozen is not None and len(ids):
        at = np.minimum(np.searchsorted(ids, frozen), len(ids) - 1)
        stuck[at[ids[at] == frozen]] = True
    low = (0, 1) if minimum is None else (255 * minimum[0], minimum[1])
    sums, counts = (np.ascontiguousarray(x, np.uint64).view(np.int64) for x in (sum, count))
    bins = None
    if not score.needs_histogram:
        rows, ends, sums, counts = _merge_densely(ends, sums, counts, stuck, low, widest)
    else:
        rows, ends, counts, bins = _merge_by_histograms(ends, counts, stuck, low, histogram, (score, part))
        sums = sums_of(bins).view(np.int64)
    a, b = ids[rows[:, 0]], ids[rows[:, 1]]
    merges = sort_merges(a, b, b, rows[:, 2].astype(np.uint64), rows[:, 3].astype(np.uint64))
    x, y = ends.min(1), ends.max(1)
    order = np.lexsort((y, x))
    return Agglomeration(
        merges,
        ids[x[order]],
        ids[y[order]],
        sums[order].astype(np.uint64),
        counts[order].astype(np.uint64),
        ids[np.unique(ends)],
        None if bins is None else bins[order],
    )


def _merge_densely(ends: Any, sums: Any, counts: Any, stuck: Any, low: tuple[int, int], widest: int) -> Any:
    """Merge a graph of nodes 0..n-1 by the mean.

    Args:
        ends: int32 (2m,), those of edge e at 2e and 2e + 1.
        sums: int64 (m,).
        counts: int64 (m,).
        stuck: bool (n,), frozen nodes.
        low: numerator and denominator of the lowest sum / count that merges.
        widest: see `WIDEST`.

    Returns:
        rows int64 (k, 4) of the merges; ends (m', 2), sums and counts (m',) of the edges that are left.
    """
    rows = np.empty((len(stuck), 4), np.int64)
    clusters = make_clusters(ends, sums, counts, stuck, widest)
    done = merge_neighbours(clusters, rows, low[0], low[1], widest)
    ends, sums, counts = residual_edges(clusters)
    pairs = ends.reshape(-1, 2)
    if not (clusters.state == PUT_OFF).any():
        return rows[:done], pairs, sums, counts
    frozen = clusters.state == FROZEN
    open_ = ~frozen[pairs].all(1)
    names, compact = np.unique(pairs[open_], return_inverse=True)
    compact = compact.reshape(-1).astype(np.int32)
    open_sums, open_counts = sums[open_], counts[open_]
    scoring = Scoring(np.zeros((0, LEVELS), np.uint32), MEAN.compiled, (0, 1))
    more, renamed, alive = merge_by_heap(compact, open_sums, open_counts, frozen[names], low, scoring)
    rows[done : done + len(more), :2] = names[more[:, :2]]
    rows[done : done + len(more), 2:] = more[:, 2:]
    left = names[renamed[compact.reshape(-1, 2)[alive]]]
    return (
        rows[: done + len(more)],
        np.concatenate([pairs[~open_], left]),
        np.concatenate([sums[~open_], open_sums[alive]]),
        np.concatenate([counts[~open_], open_counts[alive]]),
    )


def _merge_by_histograms(
    ends: Any, counts: Any, stuck: Any, low: tuple[int, int], histogram: Any, scored: tuple[Score, Part | None]
) -> Any:
    """Merge a graph of nodes 0..n-1 by a score of histograms, by the heap alone.

    Args:
        ends: int32 (2m,), those of edge e at 2e and 2e + 1.
        counts: int64 (m,).
        stuck: bool (n,), frozen nodes.
        low: numerator and denominator of the lowest sum / count that merges.
        histogram: unsigned (m, 256).
        scored: the score and its parameter.

    Returns:
        rows int64 (k, 4) of the merges; ends (m', 2), counts (m',) and histograms (m', 256) of the edges that are left.
    """
    counts = counts.copy()
    # 32 bits hold whatever few affinities add up to; both widths are compiled only when needed.
    bins = histogram.astype(np.uint32 if counts.sum() < 2**32 else np.uint64)
    scoring = Scoring(bins, scored[0].compiled, scored[1] or (0, 1))
    sums = values_of(bins, counts, scoring.value, scoring.part) * counts
    rows, names, alive = merge_by_heap(ends, sums, counts, stuck, low, scoring)
    return rows, names[ends.reshape(-1, 2)[alive]], counts[alive], bins[alive]


def _densely(u: Ids, v: Ids) -> tuple[Ids, NDArray[np.int32]]:
    """Number the ids 0.. in their order: (ids sorted, int32 (2m,) ends, those of edge e at 2e and 2e + 1)."""
    ends = np.empty(2 * len(u), np.int32)
    ids = _number(np.ascontiguousarray(u), np.ascontiguousarray(v), ends)
    order = np.argsort(ids)
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids))
    return ids[order], rank[ends]


@njit
def _number(u: Any, v: Any, ends: Any) -> Any:
    """Number the ids in the order in which they appear, into `ends`; returns them in that order: uint64 (n,)."""
    keys, numbers, n = np.zeros(4096, np.uint64), np.zeros(4096, np.int32), 0
    for e in range(len(u)):
        for side in range(2):
            key = (v[e] if side else u[e]) + np.uint64(1)  # 0 marks a free slot
            slot = find(keys, key)
            if keys[slot] == 0:
                if 2 * n >= len(keys):
                    keys, numbers = doubled(keys, numbers)
                    slot = find(keys, key)
                keys[slot], numbers[slot] = key, n
                n += 1
            ends[2 * e + side] = numbers[slot]
    ids = np.empty(n, np.uint64)
    for slot in range(len(keys)):
        if keys[slot] != 0:
            ids[numbers[slot]] = keys[slot] - np.uint64(1)
    return ids
