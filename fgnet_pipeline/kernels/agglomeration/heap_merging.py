"""Agglomeration by a priority queue that never grows: for giant clusters, and for the clusters that wait for them.

An entry of the queue keeps the (sum, count, names) that its edge had when the entry was placed: its snapshot. Merging
can only make an edge worse: the score of two edges together is at most the better one, and names only grow. So a
snapshot is a bound of what the edge is now.

1. Take the entry with the best snapshot. If its edge no longer exists, drop the entry.
2. If the snapshot is out of date, renew it and let the entry sink.
3. Otherwise the edge is the best of all. Merge its two clusters: the one with fewer edges moves its edges to the
   other. Of two parallel edges the one with the better snapshot stays and takes the affinities of both, so no entry
   is added.

A hash table finds the edge between two clusters. Every edge moves O(log n) times, since the shorter list moves.

The score of an edge is sum / (255 * count). By the mean, sum is the sum of the affinities. For all other scores the
edges have histograms, which add up, and sum is kept at score * count; the score's own function gives the score.
"""

from typing import Any, NamedTuple

import numpy as np

from fgnet_pipeline.kernels.agglomeration.exact_means import compare_fractions, compare_means
from fgnet_pipeline.kernels.agglomeration.histograms import LEVELS
from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.hash_table import find


class Scoring(NamedTuple):
    """How the score of an edge is found.

    bins: unsigned (m, 256), histograms of the affinities of the edges; (0, 256) to score by the mean.
    value: a compiled value of a score, not called without bins. part: (p, q), the parameter of the score.
    """

    bins: Any
    value: Any
    part: Any


class Edges(NamedTuple):
    """Edges and their snapshots: one row per edge, in `following` per end, from `head` to `name` per cluster."""

    ends: Any  # int32: the clusters of edge e are ends[2e] and ends[2e + 1]
    sum: Any  # int64
    count: Any  # int64
    alive: Any  # bool
    mean: Any  # float64: of the snapshot
    snap: Any  # int64 (m, 4): sum, count, smaller name, larger name
    following: Any  # int32: the next end in the list of the same cluster, -1 = none
    head: Any  # int32: the first end of the cluster's list
    tail: Any  # int32: the last end of the cluster's list
    length: Any  # int64: ends in the list, those of dead edges included
    name: Any  # int32
    scoring: Any  # Scoring
    row: Any  # int64 (256,): scratch for one histogram


@njit
def make_edges(ends: Any, sums: Any, counts: Any, n: int, scoring: Any) -> Any:
    """Edges between clusters 0..n-1 that carry their own name; all arrays given are kept and changed."""
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
        scoring,
        np.empty(LEVELS, np.int64),
    )
    for e in range(m):
        _renew(edges, e)
        _append(edges, ends[2 * e], 2 * e)
        _append(edges, ends[2 * e + 1], 2 * e + 1)
    return edges


@njit(error_model="numpy")
def _renew(edges: Any, e: Any) -> bool:
    """Bring the snapshot of edge e up to date; returns whether it was out of date."""
    x, y = edges.name[edges.ends[2 * e]], edges.name[edges.ends[2 * e + 1]]
    small, large, total, count, snap = min(x, y), max(x, y), edges.sum[e], edges.count[e], edges.snap
    if snap[e, 0] == total and snap[e, 1] == count and snap[e, 2] == small and snap[e, 3] == large:
        return False
    snap[e, 0], snap[e, 1], snap[e, 2], snap[e, 3] = total, count, small, large
    edges.mean[e] = total / count
    return True


@njit
def _append(edges: Any, x: Any, half: Any) -> None:
    """Put an end into the list of cluster x."""
    if edges.head[x] < 0:
        edges.head[x] = half
    else:
        edges.following[edges.tail[x]] = half
    edges.tail[x] = half
    edges.following[half] = -1
    edges.length[x] += 1


@njit
def _before(edges: Any, e: Any, f: Any) -> bool:
    """Whether edge e goes before edge f, by their snapshots."""
    snap = edges.snap
    sign = compare_means(edges.mean[e], snap[e, 0], snap[e, 1], edges.mean[f], snap[f, 0], snap[f, 1])
    if sign != 0:
        return sign > 0
    return snap[e, 2] < snap[f, 2] or (snap[e, 2] == snap[f, 2] and snap[e, 3] < snap[f, 3])


@njit
def _sift_down(heap: Any, size: int, at: int, edges: Any) -> None:
    """Let the entry at a place of the heap sink below all entries that go before it."""
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


@njit
def merge_by_heap(ends: Any, sums: Any, counts: Any, frozen: Any, low: tuple[int, int], scoring: Any) -> Any:
    """Merge a graph of clusters 0..n-1 in the contract's order, down to a lowest score.

    Args:
        ends: int32 (2m,), the clusters of each edge; changed, as are all arrays.
        sums: int64 (m,), affinities added up, or score * count if there are histograms.
        counts: int64 (m,), above 0.
        frozen: bool (n,), clusters that must stay as they are.
        low: numerator and denominator of the lowest sum / count that merges.
        scoring: see `Scoring`.

    Returns:
        rows int64 (k, 4): smaller and larger name, sum and count of each merge; names int32 (n,) of the clusters; alive
        bool (m,): the edges that are left.
    """
    edges = make_edges(ends, sums, counts, len(frozen), scoring)
    heap, size = _heap_of(edges), len(sums)
    keys, values, used = _table(edges)
    rows, done = np.empty((len(frozen), 4), np.int64), 0
    while size > 0:
        e = heap[0]
        x, y = np.int64(ends[2 * e]), np.int64(ends[2 * e + 1])
        if edges.alive[e] and not (frozen[x] and frozen[y]):
            if _renew(edges, e):
                _sift_down(heap, size, 0, edges)
                continue
            if compare_fractions(sums[e], counts[e], low[0], low[1]) < 0:
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


@njit
def _heap_of(edges: Any) -> Any:
    """All edges as a heap: int32 (m,), the best edge first."""
    size = len(edges.alive)
    heap = np.arange(size).astype(np.int32)
    for at in range(size // 2 - 1, -1, -1):
        _sift_down(heap, size, at, edges)
    return heap


@njit
def _join(edges: Any, x: Any, y: Any, keys: Any, values: Any) -> int:
    """Move the edges of cluster y to cluster x; parallel edges become one. Returns the number of new hash keys.

    keys, values: the hash table of `_table`.
    """
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


@njit
def _add(edges: Any, e: Any, f: Any) -> None:
    """Add the affinities of edge e to those of its parallel edge f."""
    edges.sum[f] += edges.sum[e]
    edges.count[f] += edges.count[e]
    bins, value, part = edges.scoring
    if len(bins):
        for level in range(LEVELS):
            bins[f, level] += bins[e, level]
            edges.row[level] = bins[f, level]
        edges.sum[f] = value(edges.row, edges.count[f], part[0], part[1]) * edges.count[f]


@njit
def _key(edges: Any, x: Any, y: Any) -> Any:
    """The hash key of two clusters: never 0, since they differ."""
    return np.int64(min(x, y)) * len(edges.head) + np.int64(max(x, y))


@njit
def _table(edges: Any) -> Any:
    """Hash table of the living edges, at most a third full.

    Returns keys int64 (slots,), 0 = free; the edge of each slot int32 (slots,); the number of keys.
    """
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
