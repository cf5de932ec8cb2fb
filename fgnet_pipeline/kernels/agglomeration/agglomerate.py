"""Mean-affinity agglomeration of a RAG to its merge tree, whole or one node of an octree at a time.

Definitions. A cluster is named by the largest fragment id in it. An edge is better than another if its mean affinity
sum / (255 * count) is higher, as an exact fraction, or if the means are equal and its pair (smaller name, larger name)
comes first. Global agglomeration merges the best edge until none is left; parallel edges add up their sums and counts.

Steps of `agglomerate`:

1. Number the ids densely, in their order, so that names compare as before.
2. Merge pairs of clusters that are each other's best neighbour, in any order (`neighbour_merging`).
3. Clusters with very many neighbours, and what waits for them, are merged in order from a heap (`heap_merging`).
4. A cluster whose best edge leads to a frozen cluster freezes too. Edges between frozen clusters are the residual, as
   are those below the minimum, where one is given.
5. Sort the merges: mean descending, a, b. That is the order in which the global agglomeration performs them.

Invariant: every merge done is one that the global agglomeration does, with the same sum and count; every cluster that
is neither merged away nor frozen has no edge left.

Why (the whole argument is in docs/decisions/agglomeration-order.md):

- Reducibility. When x and y merge, the edge of the result to w is no better than the better one of (x, w), (y, w): its
  mean is the weighted mean of theirs, and at equal means its pair does not come earlier, since names only grow. (Named
  by the smallest id, pairs could move forward, and the result would depend on the order.)
- So a pair of mutual best neighbours stays one, whatever else merges, until the global agglomeration merges it: merging
  it early gives the same row. And no merge creates an edge better than the one it merged, so the rows come sorted.
- Freezing. A frozen cluster may have better edges outside the table, or change before they are known. A cluster whose
  best neighbour is frozen can do nothing before that neighbour does, so it waits; all others never see the difference.

Divide and conquer: a node of the octree takes the residual edges of its children and the edges between them, and
freezes the clusters that have edges leaving the node. Such clusters were frozen in the children too, so they are still
single fragments where the edge meets them: edges between nodes never need new names. The root freezes nothing. The
union of the nodes' merges, sorted, is the global tree, however space was divided.

Memory: the table itself (32 bytes an edge), 64 bytes an edge and 100 a fragment more; a node of the octree holds what
its children left, of the order of the surface of their chunks. Time: a scan of a cluster's list costs at most
2 * `WIDEST` entries, the heap O(m log^2 m) in the worst case.

Quantile scores (`histogram`, `quantile`): the same order, with the quantile of an edge's affinities for its mean; steps
1, 3, 4 and 5, and 1 KiB an edge more. `quantiles` says why nothing else changes. A row's sum is then value * count, so
that whoever reads a tree finds the score of a row at sum / (255 * count), whatever the score.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fgnet_pipeline.kernels.agglomeration.heap_merging import merge_by_heap
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, sort_merges
from fgnet_pipeline.kernels.agglomeration.neighbour_merging import (
    FROZEN,
    PUT_OFF,
    make_clusters,
    merge_neighbours,
    residual_edges,
)
from fgnet_pipeline.kernels.agglomeration.quantiles import LEVELS, quantiles, sums_of
from fgnet_pipeline.kernels.hash_table import doubled, find

Ids = NDArray[np.uint64]

LARGEST_COUNT = 2**49
"""Affinities of a table that quantiles are taken of; `value_at` multiplies with up to 10^4."""

WIDEST = 512
"""Neighbours of a cluster above which it is left to the heap; it bounds the cost of a scan, not the result."""


@dataclass(frozen=True)
class Agglomeration:
    """What one run leaves: `merges` in canonical order, and the edges it could not decide.

    u, v, sum, count: uint64 (m,), residual edges between clusters by name, u < v, sorted by (u, v), unique.
    clusters: uint64, sorted names of the clusters that have residual edges.
    histogram: uint32 or uint64 (m, 256) of the residual edges, where one was given.
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
    quantile: tuple[int, int] | None = None,
) -> Agglomeration:
    """Merge by mean affinity, or by a quantile of the affinities, in the contract's order.

    u, v: uint64 (m,), u < v < 2^63, unique pairs, in any order. sum: uint64, affinities 0..255 added up. count: uint64,
    above 0. frozen: ids that must stay, because edges outside this table touch them. minimum: (numerator, denominator)
    of the mean affinity in 0..1 below which nothing merges; without it (and without frozen) every component becomes one
    cluster. widest: see `WIDEST`; the result does not depend on it. quantile: (p, q) with p < q <= 10^4, the score
    instead of the mean; histogram: unsigned (m, 256), how often each affinity occurs; the rows add up to count.
    Raises ValueError if all sums together reach 2^62, or with a quantile all counts `LARGEST_COUNT`.
    """
    if sum.sum(dtype=np.float64) >= 2**62 or count.sum(dtype=np.float64) >= (LARGEST_COUNT if quantile else 2**62):
        raise ValueError("the affinities of this table add up to 2^62 or more: agglomerate smaller nodes")
    ids, ends = _densely(u, v)
    stuck = np.zeros(len(ids), np.bool_)
    if frozen is not None and len(ids):
        at = np.minimum(np.searchsorted(ids, frozen), len(ids) - 1)
        stuck[at[ids[at] == frozen]] = True
    low = (0, 1) if minimum is None else (255 * minimum[0], minimum[1])
    sums, counts = (np.ascontiguousarray(x, np.uint64).view(np.int64) for x in (sum, count))
    bins = None
    if quantile is None:
        rows, ends, sums, counts = _merge_densely(ends, sums, counts, stuck, low, widest)
    else:
        assert histogram is not None, "a quantile is taken of histograms"
        rows, ends, counts, bins = _merge_by_quantile(ends, counts, stuck, low, histogram, quantile)
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
    """Merge a graph of nodes 0..n-1: (rows (k, 4), ends (m, 2), sums, counts) of the merges and of what is left."""
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
    no_bins = np.zeros((0, LEVELS), np.uint32)
    more, renamed, alive = merge_by_heap(
        compact, open_sums, open_counts, frozen[names], low[0], low[1], no_bins, (0, 1)
    )
    rows[done : done + len(more), :2] = names[more[:, :2]]
    rows[done : done + len(more), 2:] = more[:, 2:]
    left = names[renamed[compact.reshape(-1, 2)[alive]]]
    return (
        rows[: done + len(more)],
        np.concatenate([pairs[~open_], left]),
        np.concatenate([sums[~open_], open_sums[alive]]),
        np.concatenate([counts[~open_], open_counts[alive]]),
    )


def _merge_by_quantile(
    ends: Any, counts: Any, stuck: Any, low: tuple[int, int], histogram: NDArray[Any], part: tuple[int, int]
) -> Any:
    """As `_merge_densely`, by the heap alone: (rows (k, 4), ends (m, 2), counts, histograms (m, 256))."""
    counts = counts.copy()
    # 32 bits hold whatever few affinities add up to; both are compiled only when needed.
    bins = histogram.astype(np.uint32 if counts.sum() < 2**32 else np.uint64)
    sums = quantiles(bins, counts, *part) * counts
    rows, names, alive = merge_by_heap(ends, sums, counts, stuck, low[0], low[1], bins, part)
    return rows, names[ends.reshape(-1, 2)[alive]], counts[alive], bins[alive]


def _densely(u: Ids, v: Ids) -> tuple[Ids, NDArray[np.int32]]:
    """Number the ids 0.. in their order: (ids sorted, int32 (2m,) ends, those of edge e at 2e and 2e + 1)."""
    ends = np.empty(2 * len(u), np.int32)
    ids = _number(np.ascontiguousarray(u), np.ascontiguousarray(v), ends)
    order = np.argsort(ids)
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids))
    return ids[order], rank[ends]


@njit(cache=True)
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
