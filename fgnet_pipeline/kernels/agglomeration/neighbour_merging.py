"""Agglomeration without a queue: pairs of clusters that are each other's best neighbour merge at once.

Average linkage is reducible, so mutual best neighbours may merge in any order (`agglomerate` gives the reasons).
Every cluster keeps a list of its neighbours and the name of the best one:

1. Scan a cluster: resolve the names in its list by union-find, add up parallel entries, find the best neighbour.
2. If the cluster is also the best of that neighbour, merge the two: chain their lists, record the row, scan the
   result. Its neighbours whose best was one of the two are scanned again. Those whose edge to the result is still
   better than their second best are not: the second best can only have become worse.
3. If the best neighbour is frozen, the cluster freezes too, and clusters whose best it is are scanned again.

A list is compacted in the storage of the nodes whose lists were chained, so memory stays at 24 bytes per directed
edge. A cluster with more than `widest` neighbours is put off, and so are the clusters that wait for it because it is
their best. So a scan costs at most twice `widest` entries. The clusters that were put off are left to the heap
(`heap_merging`).
"""

from typing import Any, NamedTuple

import numpy as np

from fgnet_pipeline.kernels.agglomeration.exact_means import ROUNDING, compare_fractions, compare_means
from fgnet_pipeline.kernels.compiled import njit

FREE, FROZEN, PUT_OFF = 0, 1, 2


class Clusters(NamedTuple):
    """The lists of all clusters: one row per node, in `entry` and `scratch` one row per entry of a list."""

    parent: Any  # int32: union-find
    state: Any  # uint8: FREE, FROZEN or PUT_OFF
    best: Any  # int32: best neighbour, -1 = not known or none
    second: Any  # float64: no other neighbour has a higher mean (it can only fall), -1 = there is no other
    waiting: Any  # bool: on the stack of clusters to scan
    begin: Any  # int64: where the node's own piece of the lists begins
    length: Any  # int32: how much of that piece is in use
    following: Any  # int32: the node whose piece continues the list, -1 = end
    last: Any  # int32: the node whose piece ends the list
    seen: Any  # int64: scan number and place of a neighbour in the scratch
    entry: Any  # int64 (2m, 3): neighbour (a node whose root is meant), sum, count
    scratch: Any  # int64 (k, 3): the same, of the list that was gathered last


@njit
def find(parent: Any, x: Any) -> Any:
    """The root of x, halving the path."""
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@njit
def make_clusters(ends: Any, sums: Any, counts: Any, frozen: Any, widest: int) -> Any:
    """Make the lists of a graph of nodes 0..n-1.

    Args:
        ends: int32 (2m,), edge e joins ends[2e] and ends[2e + 1].
        sums: int64 (m,).
        counts: int64 (m,).
        frozen: bool (n,), nodes that must stay.
        widest: a node with more neighbours is put off.
    """
    n, m = len(frozen), len(sums)
    begin = np.zeros(n + 1, np.int64)
    for half in range(2 * m):
        begin[ends[half] + 1] += 1
    for i in range(n):
        begin[i + 1] += begin[i]
    free = begin[:-1].copy()
    entry = np.empty((2 * m, 3), np.int64)
    for half in range(2 * m):
        at = free[ends[half]]
        free[ends[half]] += 1
        entry[at, 0], entry[at, 1], entry[at, 2] = ends[half ^ 1], sums[half >> 1], counts[half >> 1]
    state = np.zeros(n, np.uint8)
    length = np.empty(n, np.int32)
    for i in range(n):
        length[i] = begin[i + 1] - begin[i]
        state[i] = FROZEN if frozen[i] else (PUT_OFF if length[i] > widest else FREE)
    nodes = np.arange(n).astype(np.int32)
    return Clusters(
        nodes,
        state,
        np.full(n, -1, np.int32),
        np.full(n, -1.0),
        np.zeros(n, np.bool_),
        begin,
        length,
        np.full(n, -1, np.int32),
        nodes.copy(),
        np.full(n, -1, np.int64),
        entry,
        np.empty((2 * widest + 2, 3), np.int64),
    )


@njit
def gather(clusters: Any, c: Any, scan: int, scratch: Any) -> int:
    """Resolve and add up the list of root c into `scratch`; returns its length. Every call needs another `scan`."""
    parent, seen, entry = clusters.parent, clusters.seen, clusters.entry
    size = 0
    piece = c
    while piece >= 0:
        begin = clusters.begin[piece]
        for j in range(begin, begin + clusters.length[piece]):
            r = find(parent, entry[j, 0])
            if r == c:
                continue
            if seen[r] >> 32 == scan:
                k = seen[r] & 0xFFFFFFFF
                scratch[k, 1] += entry[j, 1]
                scratch[k, 2] += entry[j, 2]
            else:
                seen[r] = (scan << 32) | size
                scratch[size, 0], scratch[size, 1], scratch[size, 2] = r, entry[j, 1], entry[j, 2]
                size += 1
        piece = np.int64(clusters.following[piece])
    return size


@njit
def put_back(clusters: Any, c: Any, size: int) -> None:
    """Write the first `size` entries of the scratch into the pieces of root c; pieces without an entry are dropped."""
    piece, k = c, 0
    while True:
        begin = clusters.begin[piece]
        room = min(size - k, clusters.begin[piece + 1] - begin)
        for j in range(begin, begin + room):
            clusters.entry[j, 0] = clusters.scratch[k, 0]
            clusters.entry[j, 1] = clusters.scratch[k, 1]
            clusters.entry[j, 2] = clusters.scratch[k, 2]
            k += 1
        clusters.length[piece] = room
        if k == size:
            break
        piece = np.int64(clusters.following[piece])
    clusters.following[piece] = -1
    clusters.last[c] = piece


@njit(error_model="numpy")
def best_of_scratch(clusters: Any, c: Any, size: int) -> int:
    """The place of c's best neighbour in the scratch: highest mean, then smallest name; -1 if there is none.

    The highest mean among the other neighbours is stored in `second`.
    """
    scratch = clusters.scratch
    best, best_mean, second = -1, -1.0, -1.0
    for k in range(size):
        total, count = scratch[k, 1], scratch[k, 2]
        mean = total / count
        sign = 1 if best < 0 else compare_means(mean, total, count, best_mean, scratch[best, 1], scratch[best, 2])
        if sign > 0 or (sign == 0 and scratch[k, 0] < scratch[best, 0]):
            best, best_mean, mean = k, mean, best_mean
        second = max(second, mean)
    clusters.second[c] = second
    return best


@njit
def _wake(clusters: Any, w: Any, stack: Any, height: int) -> int:
    """Put cluster w on the stack of clusters to scan, unless it is there; returns the new height of the stack."""
    clusters.best[w] = -1
    if not clusters.waiting[w]:
        clusters.waiting[w] = True
        stack[height] = w
        height += 1
    return height


@njit(error_model="numpy")
def _tell_of_merge(clusters: Any, size: int, small: Any, large: Any, stack: Any, height: int) -> int:
    """After small joined large, whose list is in the scratch, wake the neighbours that may now prefer another cluster.

    A neighbour whose best was one of the two keeps the result as its best while its edge to the result is clearly
    better than its second best was. Returns the new height of the stack.
    """
    for k in range(size):
        w = clusters.scratch[k, 0]
        if (clusters.best[w] == small or clusters.best[w] == large) and clusters.state[w] == FREE:
            mean = clusters.scratch[k, 1] / clusters.scratch[k, 2]
            if mean - clusters.second[w] > ROUNDING * (mean + clusters.second[w]):
                clusters.best[w] = large
            else:
                height = _wake(clusters, w, stack, height)
    return height


@njit
def _tell_of_wait(clusters: Any, size: int, c: Any, stack: Any, height: int) -> int:
    """After c froze or was put off, wake the neighbours in the scratch whose best it is; returns the new height."""
    for k in range(size):
        w = clusters.scratch[k, 0]
        if clusters.best[w] == c and clusters.state[w] == FREE:
            height = _wake(clusters, w, stack, height)
    return height


@njit
def _chain(clusters: Any, small: Any, large: Any) -> None:
    """Append the pieces of small to those of large, and let large be the root of small."""
    clusters.parent[small] = large
    clusters.following[clusters.last[large]] = small
    clusters.last[large] = clusters.last[small]


@njit
def _choose(clusters: Any, c: Any, size: int, low_sum: int, low_count: int, widest: int) -> Any:
    """Decide what root c does, whose list of this size is in the scratch.

    Its best neighbour is stored, and its state if it has to wait. Returns the place in the scratch of the cluster to
    merge with, or -1.
    """
    clusters.best[c] = -1
    k = best_of_scratch(clusters, c, size)
    if k < 0 or compare_fractions(clusters.scratch[k, 1], clusters.scratch[k, 2], low_sum, low_count) < 0:
        return -1
    w = clusters.scratch[k, 0]
    clusters.best[c] = w
    clusters.state[c] = PUT_OFF if size > widest else clusters.state[w]
    if clusters.state[c] != FREE or clusters.best[w] != c:
        return -1
    return k


@njit
def merge_neighbours(clusters: Any, rows: Any, low_sum: int, low_count: int, widest: int) -> int:
    """Merge until every cluster is alone, frozen, put off, or has no edge with sum / count >= low_sum / low_count.

    Args:
        clusters: from `make_clusters`; changed.
        rows: int64 (n, 4), receives the smaller and the larger name, sum and count of each merge.
        low_sum: numerator of the lowest sum / count that merges.
        low_count: its denominator.
        widest: a cluster with more neighbours is put off.

    Returns:
        The number of merges.
    """
    stack = np.empty(len(clusters.parent) + 1, np.int32)
    done, scan = 0, 0
    for first in range(len(clusters.parent)):
        stack[0], height = first, 1
        while height > 0:
            height -= 1
            c = np.int64(stack[height])
            clusters.waiting[c] = False
            absorbed = c
            while clusters.parent[c] == c and clusters.state[c] == FREE and clusters.best[c] < 0:
                scan += 1
                size = gather(clusters, c, scan, clusters.scratch)
                put_back(clusters, c, size)
                if absorbed != c:
                    height = _tell_of_merge(clusters, size, absorbed, c, stack, height)
                k = _choose(clusters, c, size, low_sum, low_count, widest)
                if clusters.state[c] != FREE:
                    height = _tell_of_wait(clusters, size, c, stack, height)
                if k < 0:
                    break
                w = np.int64(clusters.scratch[k, 0])
                absorbed, c = min(c, w), max(c, w)
                rows[done, 0], rows[done, 1] = absorbed, c
                rows[done, 2], rows[done, 3] = clusters.scratch[k, 1], clusters.scratch[k, 2]
                done += 1
                _chain(clusters, absorbed, c)
                clusters.best[c] = -1
    return done


@njit
def residual_edges(clusters: Any) -> Any:
    """The edges that are left, each once: ends int32 (2m,), sums int64 (m,) and counts int64 (m,)."""
    n, directed, longest = len(clusters.parent), 0, 0
    for c in range(n):
        piece, size = np.int64(c), 0
        while clusters.parent[c] == c and piece >= 0:
            size += clusters.length[piece]
            piece = np.int64(clusters.following[piece])
        directed, longest = directed + size, max(longest, size)
    ends = np.empty(directed + 2, np.int32)
    sums, counts = np.empty(directed // 2 + 1, np.int64), np.empty(directed // 2 + 1, np.int64)
    scratch = np.empty((longest, 3), np.int64)
    clusters.seen[:] = -1
    m = 0
    for c in range(n):
        size = gather(clusters, c, c, scratch) if clusters.parent[c] == c else 0
        for k in range(size):
            if scratch[k, 0] > c:
                ends[2 * m], ends[2 * m + 1] = c, scratch[k, 0]
                sums[m], counts[m] = scratch[k, 1], scratch[k, 2]
                m += 1
    return ends[: 2 * m], sums[:m], counts[:m]
