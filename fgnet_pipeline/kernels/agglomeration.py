"""Mean-affinity agglomeration of a RAG to its merge tree, whole or one node of an octree at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fgnet_pipeline.kernels.means import compare_fractions, compare_means
from fgnet_pipeline.kernels.merge_tree import Merges, sort_merges

Ids = NDArray[np.uint64]

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Agglomeration:
    """What one run leaves: `merges` in canonical order, and the edges it could not decide.

    u, v, sum, count: uint64 (m,), residual edges between clusters by name, u < v, sorted by (u, v), unique.
    clusters: uint64, sorted names of the clusters that have residual edges.
    """

    merges: Merges
    u: Ids
    v: Ids
    sum: Ids
    count: Ids
    clusters: Ids


def agglomerate(
    u: Ids,
    v: Ids,
    sum: Ids,
    count: Ids,
    *,
    frozen: Ids | None = None,
    minimum: tuple[int, int] | None = None,
) -> Agglomeration:
    """Merge by mean affinity, in the contract's order.

    u, v: uint64 (m,), u < v < 2^63, unique pairs, in any order. sum: uint64, affinities 0..255 added up. count:
    uint64, above 0. frozen: ids that must stay, because edges outside this table touch them. minimum: (numerator,
    denominator) of the mean affinity in 0..1 below which nothing merges; without it (and without frozen) every
    component becomes one cluster.
    """
    ids, ends = _densely(u, v)
    stuck = np.zeros(len(ids), np.bool_)
    if frozen is not None and len(ids):
        at = np.minimum(np.searchsorted(ids, frozen), len(ids) - 1)
        stuck[at[ids[at] == frozen]] = True
    low = (0, 1) if minimum is None else (255 * minimum[0], minimum[1])
    sums, counts = sum.astype(np.int64), count.astype(np.int64)
    rows, n, names, alive = _merge_by_heap(ends, sums, counts, stuck, low[0], low[1])
    rows = rows[:n]
    a, b = ids[rows[:, 0]], ids[rows[:, 1]]
    merges = sort_merges(a, b, b, rows[:, 2].astype(np.uint64), rows[:, 3].astype(np.uint64))
    left = np.flatnonzero(alive)
    x, y = ids[names[ends[2 * left]]], ids[names[ends[2 * left + 1]]]
    x, y = np.minimum(x, y), np.maximum(x, y)
    order = np.lexsort((y, x))
    left, x, y = left[order], x[order], y[order]
    return Agglomeration(
        merges,
        x,
        y,
        sums[left].astype(np.uint64),
        counts[left].astype(np.uint64),
        np.unique(np.concatenate([x, y])),
    )


def _densely(u: Ids, v: Ids) -> tuple[Ids, NDArray[np.int32]]:
    """Number the ids 0.. in their order: (ids sorted, int32 (2m,) ends, those of edge e at 2e and 2e + 1)."""
    ids = np.unique(np.concatenate([u, v]))
    ends = np.empty(2 * len(u), np.int32)
    ends[0::2] = np.searchsorted(ids, u)
    ends[1::2] = np.searchsorted(ids, v)
    return ids, ends


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
def _merge_by_heap(ends: Any, sums: Any, counts: Any, frozen: Any, low_sum: int, low_count: int) -> Any:
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
    return rows, done, names, alive


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
