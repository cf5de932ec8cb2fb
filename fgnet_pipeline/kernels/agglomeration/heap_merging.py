"""Agglomeration by a priority queue that only ever shrinks: for giant clusters, and for what waits for them.

An entry keeps the (sum, count, names) that its edge had when the entry was placed: its snapshot. Merging can only make
an edge worse (the mean of two edges is at most the better one, and names grow), so a snapshot is a bound:

1. Take the entry with the best snapshot. If its edge is gone, drop it.
2. If the snapshot is not what the edge is now, renew it and let it sink.
3. Otherwise it is the best edge there is: merge its two clusters. The one with fewer edges moves to the other; of two
   parallel edges the one with the better snapshot lives on and takes the sum of both, so that no entry is ever added.

Edges are found by a hash of their two clusters. Every edge moves O(log n) times, since the shorter list moves.

The score of an edge is sum / (255 * count). For quantile scores (`quantiles`) edges have histograms, which add up, and
sum is kept at value * count, so that the score is value / 255; a quantile, too, is at most the better of the two.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fgnet_pipeline.kernels.agglomeration.exact_means import compare_fractions, compare_means
from fgnet_pipeline.kernels.agglomeration.quantiles import value_at
from fgnet_pipeline.kernels.hash_table import find


class Edges(NamedTuple):
    """Edges and their snapshots, a row an edge; `following` a row an end; the last four a row a cluster."""

    ends: Any  # int32: the clusters of edge e are ends[2e] and ends[2e + 1]
    sum: Any  # int64
    count: Any  # int64
    alive: Any  # bool
    mean: Any  # float64: of the snapshot
    snap: Any  # int64 (m, 4): sum, count, smaller name, larger name
    following: Any  # int32: the next end in the list of the same cluster, -1 = none
    head: Any  # int32: the first end of the cluster's list
    tail: Any  # int32
    length: Any  # int64: ends in the list, those of dead edges included
    name: Any  # int32
    bins: Any  # unsigned (m, 256): histograms of affinities; (0, 256) for mean scores
    part: Any  # (numerator, denominator) of the quantile


@njit(cache=True)
def make_edges(ends: Any, sums: Any, counts: Any, n: int, bins: Any, part: tuple[int, int]) -> Any:
    """Edges between clusters 0..n-1 that carry their own name; ends, sums, counts and bins are kept and changed."""
    m = len(sums)
    edges = Edges(
        ends,
        sums,
        counts,
        np.ones(m, np.bool_),
        np.empty(m, np.float64),
        np.zeros((m, 4), np.int64),
        np.full(2 * m, -1, np.int32),
        np.full(n, -1, np.int32),
        np.full(n, -1, np.int32),
        np.zeros(n, np.int64),
        np.arange(n).astype(np.int32),
        bins,
        part,
    )
    for e in range(m):
        _renew(edges, e)
        _append(edges, ends[2 * e], 2 * e)
        _append(edges, ends[2 * e + 1], 2 * e + 1)
    return edges


@njit(cache=True, error_model="numpy")
def _renew(edges: Any, e: Any) -> bool:
    """Bring the snapshot of edge e up to date; whether it was not."""
    x, y = edges.name[edges.ends[2 * e]], edges.name[edges.ends[2 * e + 1]]
    small, large, total, count, snap = min(x, y), max(x, y), edges.sum[e], edges.count[e], edges.snap
    if snap[e, 0] == total and snap[e, 1] == count and snap[e, 2] == small and snap[e, 3] == large:
        return False
    snap[e, 0], snap[e, 1], snap[e, 2], snap[e, 3] = total, count, small, large
    edges.mean[e] = total / count
    return True


@njit(cache=True)
def _append(edges: Any, x: Any, half: Any) -> None:
    """Put an end into the list of cluster x."""
    if edges.head[x] < 0:
        edges.head[x] = half
    else:
        edges.following[edges.tail[x]] = half
    edges.tail[x] = half
    edges.following[half] = -1
    edges.length[x] += 1


@njit(cache=True)
def _before(edges: Any, e: Any, f: Any) -> bool:
    """Whether edge e goes before edge f, by their snapshots."""
    snap = edges.snap
    sign = compare_means(edges.mean[e], snap[e, 0], snap[e, 1], edges.mean[f], snap[f, 0], snap[f, 1])
    if sign != 0:
        return sign > 0
    return snap[e, 2] < snap[f, 2] or (snap[e, 2] == snap[f, 2] and snap[e, 3] < snap[f, 3])


@njit(cache=True)
def _sift_down(heap: Any, size: int, at: int, edges: Any) -> None:
    e = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(edges, heap[child + 1], heap[child]):
            child += 1
        if not _before(edges, heap[child], e):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = e


@njit(cache=True)
def merge_by_heap(
    ends: Any, sums: Any, counts: Any, frozen: Any, low_sum: int, low_count: int, bins: Any, part: tuple[int, int]
) -> Any:
    """Merge a graph of clusters 0..n-1 in the contract's order, down to a mean of low_sum / low_count.

    ends: int32 (2m,); sums, counts: int64 (m,); frozen: bool (n,); bins, part: as in `Edges`; all arrays are changed.
    Returns (rows int64 (k, 4): smaller and larger name, sum, count; names int32 (n,) of the clusters; alive bool (m,),
    the edges that are left).
    """
    edges = make_edges(ends, sums, counts, len(frozen), bins, part)
    size = len(sums)
    heap = np.arange(size).astype(np.int32)
    for at in range(size // 2 - 1, -1, -1):
        _sift_down(heap, size, at, edges)
    keys, values, used = _table(edges)
    rows, done = np.empty((len(frozen), 4), np.int64), 0
    while size > 0:
        e = heap[0]
        x, y = np.int64(ends[2 * e]), np.int64(ends[2 * e + 1])
        if edges.alive[e] and not (frozen[x] and frozen[y]):
            if _renew(edges, e):
                _sift_down(heap, size, 0, edges)
                continue
            if compare_fractions(sums[e], counts[e], low_sum, low_count) < 0:
                break
        size -= 1
        heap[0] = heap[size]
        _sift_down(heap, size, 0, edges)
        if not edges.alive[e]:
            continue
        if frozen[x] or frozen[y]:
            frozen[x] = frozen[y] = True
            continue
        edges.alive[e] = False
        small, large = min(edges.name[x], edges.name[y]), max(edges.name[x], edges.name[y])
        rows[done, 0], rows[done, 1], rows[done, 2], rows[done, 3] = small, large, sums[e], counts[e]
        done += 1
        if edges.length[x] < edges.length[y]:
            x, y = y, x
        if 2 * (used + edges.length[y]) > len(keys):
            keys, values, used = _table(edges)
        used += _join(edges, x, y, keys, values)
        edges.name[x] = large
    return rows[:done], edges.name, edges.alive


@njit(cache=True)
def _join(edges: Any, x: Any, y: Any, keys: Any, values: Any) -> int:
    """Move the edges of cluster y to cluster x; parallel edges become one. Returns the number of new hash keys."""
    new = 0
    half = np.int64(edges.head[y])
    while half >= 0:
        after = np.int64(edges.following[half])
        e = half >> 1
        if edges.alive[e]:
            edges.ends[half] = x
            key = _key(edges, x, edges.ends[half ^ 1])
            at = find(keys, key)
            if keys[at] == 0:
                keys[at] = key
                values[at] = e
                new += 1
                _append(edges, x, half)
            else:
                f = values[at]
                if _before(edges, e, f):
                    _append(edges, x, half)
                    values[at] = e
                    e, f = np.int64(f), e
                edges.alive[e] = False
                _add(edges, e, f)
        half = after
    edges.head[y] = -1
    return new


@njit(cache=True)
def _add(edges: Any, e: Any, f: Any) -> None:
    """Add the affinities of edge e to those of its parallel edge f."""
    edges.sum[f] += edges.sum[e]
    edges.count[f] += edges.count[e]
    if len(edges.bins):
        for value in range(edges.bins.shape[1]):
            edges.bins[f, value] += edges.bins[e, value]
        edges.sum[f] = value_at(edges.bins[f], edges.count[f], edges.part[0], edges.part[1]) * edges.count[f]


@njit(cache=True)
def _key(edges: Any, x: Any, y: Any) -> Any:
    return np.int64(min(x, y)) * len(edges.head) + np.int64(max(x, y))


@njit(cache=True)
def _table(edges: Any) -> Any:
    """Hash of the living edges, at most a third full: keys (0 = free), edge numbers, and how many keys there are."""
    living = np.count_nonzero(edges.alive)
    size = 16
    while size < 3 * living:
        size *= 2
    keys, values = np.zeros(size, np.int64), np.empty(size, np.int32)
    for e in range(len(edges.alive)):
        if edges.alive[e]:
            key = _key(edges, edges.ends[2 * e], edges.ends[2 * e + 1])
            at = find(keys, key)
            keys[at], values[at] = key, e
    return keys, values, living
