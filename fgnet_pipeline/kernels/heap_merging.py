"""Agglomeration by a priority queue that only ever shrinks: for giant clusters, and for what waits for them.

An entry keeps the (sum, count, names) that its edge had when the entry was placed: its snapshot. Merging can only make
an edge worse (the mean of two edges is at most the better one, and names grow), so a snapshot is a bound:

1. Take the entry with the best snapshot. If its edge is gone, drop it.
2. If the snapshot is not what the edge is now, renew it and let it sink.
3. Otherwise it is the best edge there is: merge its two clusters. The one with fewer edges moves to the other; of two
   parallel edges the one with the better snapshot lives on and takes the sum of both, so that no entry is ever added.

Edges are found by a hash of their two clusters. Every edge moves O(log n) times, since the shorter list moves.
"""

from typing import Any

import numpy as np
from numba import njit

from fgnet_pipeline.kernels.means import compare_fractions, compare_means

_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True)
def _slot(keys: Any, key: int) -> int:
    mask = np.uint64(len(keys) - 1)
    at = np.uint64(key) * _MIX
    at = (at ^ (at >> np.uint64(31))) & mask
    while keys[at] != -1 and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@njit(cache=True)
def _key(x: int, y: int, n: int) -> int:
    return min(x, y) * n + max(x, y)


@njit(cache=True)
def _table(ends: Any, alive: Any, n: int) -> Any:
    """Hash of the living edges: keys (-1 = free) and edge numbers, at most a third full."""
    size = 16
    living = 0
    for e in range(len(alive)):
        living += alive[e]
    while size < 3 * living:
        size *= 2
    keys, values = np.full(size, -1, np.int64), np.empty(size, np.int32)
    for e in range(len(alive)):
        if alive[e]:
            at = _slot(keys, _key(np.int64(ends[2 * e]), np.int64(ends[2 * e + 1]), n))
            keys[at] = _key(np.int64(ends[2 * e]), np.int64(ends[2 * e + 1]), n)
            values[at] = e
    return keys, values, living


@njit(cache=True)
def _before(means: Any, snaps: Any, e: int, f: int) -> bool:
    """Whether edge e goes before edge f, by their snapshots (sum, count, smaller name, larger name)."""
    sign = compare_means(means[e], snaps[e, 0], snaps[e, 1], means[f], snaps[f, 0], snaps[f, 1])
    if sign != 0:
        return sign > 0
    if snaps[e, 2] != snaps[f, 2]:
        return snaps[e, 2] < snaps[f, 2]
    return snaps[e, 3] < snaps[f, 3]


@njit(cache=True)
def _sift_down(heap: Any, size: int, at: int, means: Any, snaps: Any) -> None:
    e = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(means, snaps, heap[child + 1], heap[child]):
            child += 1
        if not _before(means, snaps, heap[child], e):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = e


@njit(cache=True, error_model="numpy")
def merge_by_heap(ends: Any, sums: Any, counts: Any, frozen: Any, low_sum: int, low_count: int) -> Any:
    n, m = len(frozen), len(sums)
    names = np.arange(n).astype(np.int32)
    alive = np.ones(m, np.bool_)
    means = np.empty(m, np.float64)
    snaps = np.empty((m, 4), np.int64)
    following = np.full(2 * m, -1, np.int32)
    head, tail, length = np.full(n, -1, np.int32), np.full(n, -1, np.int32), np.zeros(n, np.int64)
    for e in range(m):
        means[e] = sums[e] / counts[e]
        snaps[e, 0], snaps[e, 1] = sums[e], counts[e]
        x, y = ends[2 * e], ends[2 * e + 1]
        snaps[e, 2], snaps[e, 3] = min(x, y), max(x, y)
        for half in (2 * e, 2 * e + 1):
            _append(head, tail, length, following, ends[half], half)
    heap = np.arange(m).astype(np.int32)
    size = m
    for at in range(m // 2 - 1, -1, -1):
        _sift_down(heap, size, at, means, snaps)
    keys, values, used = _table(ends, alive, n)
    rows = np.empty((n, 4), np.int64)
    done = 0
    while size > 0:
        e = heap[0]
        x, y = ends[2 * e], ends[2 * e + 1]
        settled = not alive[e] or (frozen[x] and frozen[y])
        if not settled:
            small, large = min(names[x], names[y]), max(names[x], names[y])
            stale = (
                snaps[e, 0] != sums[e]
                or snaps[e, 1] != counts[e]
                or snaps[e, 2] != small
                or snaps[e, 3] != large
            )
            if stale:
                snaps[e, 0], snaps[e, 1], snaps[e, 2], snaps[e, 3] = sums[e], counts[e], small, large
                means[e] = sums[e] / counts[e]
                _sift_down(heap, size, 0, means, snaps)
                continue
            if compare_fractions(sums[e], counts[e], low_sum, low_count) < 0:
                break
            if frozen[x] or frozen[y]:
                frozen[x] = frozen[y] = True
                settled = True
        size -= 1
        heap[0] = heap[size]
        if size > 0:
            _sift_down(heap, size, 0, means, snaps)
        if settled:
            continue
        alive[e] = False
        rows[done, 0], rows[done, 1], rows[done, 2], rows[done, 3] = small, large, sums[e], counts[e]
        done += 1
        if length[x] < length[y]:
            x, y = y, x
        if 2 * (used + length[y]) > len(keys):
            keys, values, used = _table(ends, alive, n)
        used += _join(
            x, y, ends, sums, counts, alive, means, snaps, head, tail, length, following, keys, values, n
        )
        names[x] = large
    return rows[:done], names, alive


@njit(cache=True)
def _append(head: Any, tail: Any, length: Any, following: Any, x: int, half: int) -> None:
    if head[x] < 0:
        head[x] = half
    else:
        following[tail[x]] = half
    tail[x] = half
    following[half] = -1
    length[x] += 1


@njit(cache=True)
def _join(
    x: int,
    y: int,
    ends: Any,
    sums: Any,
    counts: Any,
    alive: Any,
    means: Any,
    snaps: Any,
    head: Any,
    tail: Any,
    length: Any,
    following: Any,
    keys: Any,
    values: Any,
    n: int,
) -> int:
    """Move the edges of cluster y to cluster x; parallel edges become one. Returns the number of new hash keys."""
    new = 0
    half = head[y]
    while half >= 0:
        after = following[half]
        e = half >> 1
        if alive[e]:
            ends[half] = x
            key = _key(np.int64(x), np.int64(ends[half ^ 1]), n)
            at = _slot(keys, key)
            if keys[at] == -1:
                keys[at] = key
                values[at] = e
                new += 1
                _append(head, tail, length, following, x, half)
            else:
                f = values[at]
                total, number = sums[e] + sums[f], counts[e] + counts[f]
                if _before(means, snaps, e, f):
                    _append(head, tail, length, following, x, half)
                    values[at] = e
                    alive[f] = False
                    sums[e], counts[e] = total, number
                else:
                    alive[e] = False
                    sums[f], counts[f] = total, number
        half = after
    head[y] = -1
    return new
