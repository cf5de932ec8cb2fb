"""The merge tree: canonical order, cuts at a threshold, and the LUT of a cut.

Rows are (a, b, parent, sum, count): cluster a joins cluster b with the score sum / (255 * count), usually the mean
affinity. Clusters are named by the largest fragment id in them, so a < b and parent = b, and every id is the smaller
name `a` of at most one row. So a tree is a forest of parent pointers, and the segment of id s at threshold t is

    segment_t(s) = s                      if s is no `a`, or its row has a score < t
                   segment_t(parent(s))   otherwise.

Along the pointers the scores never rise, since they are reducible. In canonical order the row of a parent comes after
the rows of its children: resolving the pointers in reverse order takes one step per id.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.kernels.agglomeration.exact_means import compare_means
from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.relabel import places

Ids = NDArray[np.uint64]
MAXIMUM_AFFINITY = 255


class Merges(NamedTuple):
    """Rows of a merge tree, uint64 (n,) each: a < b, parent = b, sum of affinities 0..255, number of affinities."""

    a: Ids
    b: Ids
    parent: Ids
    sum: Ids
    count: Ids  # type: ignore[assignment]  # the contract's name; hides tuple.count


def sort_merges(a: Ids, b: Ids, parent: Ids, sum: Ids, count: Ids) -> Merges:
    """Bring rows into canonical order: higher score first (exact), then smaller a, then smaller b.

    This is the order in which one global agglomeration merges. So the merges of all octree nodes, sorted, are the
    global tree (docs/decisions/agglomeration-order.md).

    Args:
        a: uint64 (n,), smaller name.
        b: uint64 (n,), larger name.
        parent: uint64 (n,), equal to b.
        sum: uint64 (n,), below 2^63.
        count: uint64 (n,), above 0, below 2^63.
    """
    order = canonical_order(a, b, sum, count)
    return Merges(a[order], b[order], parent[order], sum[order], count[order])


def canonical_order(a: Ids, b: Ids, sum: Ids, count: Ids) -> NDArray[np.int64]:
    """The order of edges or merges: higher score first (exact), then smaller a, then smaller b.

    Args:
        a: uint64 (n,), smaller name.
        b: uint64 (n,), larger name.
        sum: uint64 (n,), below 2^63.
        count: uint64 (n,), above 0, below 2^63.

    Returns:
        int64 (n,), places of the rows.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sum / count
    order = np.lexsort((b, a, -means))
    signed = [np.ascontiguousarray(x[order]).astype(np.int64) for x in (a, b, sum, count)]
    return order if _is_sorted(*signed) else order[_exact_order(*signed)]


def as_fraction(threshold: float) -> Fraction:
    """The threshold as the decimal number that was typed: 0.7 is 7/10, not the binary fraction nearest to it.

    Python prints the shortest decimal that reads back as the same float, so every float has one such number.
    """
    return Fraction(str(float(threshold)))


def cut(a: Ids, b: Ids, sum: Ids, count: Ids, threshold: float) -> NDArray[np.bool_]:
    """Find the rows whose merge is done at a threshold: sum / (255 * count) >= threshold, exactly.

    Args:
        a: uint64 (n,), not read.
        b: uint64 (n,), not read.
        sum: uint64 (n,).
        count: uint64 (n,), above 0.
        threshold: in [0, 1].

    Returns:
        bool (n,).
    """
    wanted = as_fraction(threshold)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sum / (MAXIMUM_AFFINITY * count.astype(np.float64))
    applied = np.asarray(means >= float(wanted))
    near = np.flatnonzero(np.abs(means - float(wanted)) < 1e-12)
    if len(near):
        pairs, which = np.unique(np.stack([sum[near], count[near]], 1), axis=0, return_inverse=True)
        exact = [int(s) * wanted.denominator >= MAXIMUM_AFFINITY * int(n) * wanted.numerator for s, n in pairs]
        applied[near] = np.array(exact)[which.reshape(-1)]
    return applied


def lut(ids: Ids, merges: Merges, threshold: float, roots: tuple[Ids, Ids] | None = None) -> Ids:
    """The segment of every id at a threshold; a segment is named by the largest fragment id in it.

    Args:
        ids: uint64 (n,), sorted, unique, all fragments (or clusters) that the rows name.
        merges: in canonical order.
        threshold: in [0, 1].
        roots: for a node below the root of an octree, the clusters that its parent node took up: names, sorted, and
            their segments, from the parent's own `lut`. Clusters of other children are passed over.

    Returns:
        uint64 (n,), the segment of each id.

    Raises:
        DamageError: A row names an unknown id.
    """
    segment = ids.copy()
    if roots is not None:
        known = _known(roots[0], ids)
        segment[known] = roots[1][np.searchsorted(roots[0], ids[known])]
    applied = cut(merges.a, merges.b, merges.sum, merges.count, threshold)
    a = _positions(ids, merges.a[applied])
    parent = _positions(ids, merges.parent[applied])
    _resolve(segment, a, parent)
    return segment


def names_after(ids: Ids, merges: Merges, rows: int) -> Ids:
    """The cluster of each id after some merges.

    Args:
        ids: uint64 (n,), sorted.
        merges: in canonical order.
        rows: how many of the first rows have merged.

    Returns:
        uint64 (n,), names of clusters.

    Raises:
        DamageError: One of these rows names an unknown id.
    """
    names = ids.copy()
    _resolve(names, _positions(ids, merges.a[:rows]), _positions(ids, merges.parent[:rows]))
    return names


def check_edges(u: Ids, v: Ids, sum: Ids, count: Ids, ids: Ids | None = None) -> None:
    """Check an edge table: u < v, sorted by (u, v), unique, 0 < count, sum <= 255 * count.

    Args:
        u: uint64 (n,).
        v: uint64 (n,).
        sum: uint64 (n,).
        count: uint64 (n,).
        ids: uint64, sorted, the fragments that exist; None: the ends of edges are not checked.

    Raises:
        DamageError: The table breaks a rule.
    """
    _refuse("the edge table", "its columns differ in length", [len({len(u), len(v), len(sum), len(count)}) != 1])
    _refuse("the edge table", "an edge has background (0) as its end", u == 0)
    _refuse("the edge table", "an edge does not have u < v", u >= v)
    _refuse("the edge table", "an edge has a count of 0", count == 0)
    _refuse("the edge table", "an edge has a sum above 255 times its count", sum > MAXIMUM_AFFINITY * count)
    _refuse("the edge table", "an edge occurs twice", (u[1:] == u[:-1]) & (v[1:] == v[:-1]))
    _refuse("the edge table", "edges are out of order", (u[1:] < u[:-1]) | ((u[1:] == u[:-1]) & (v[1:] < v[:-1])))
    if ids is not None:
        _refuse(
            "the edge table",
            "an edge names a fragment that does not exist",
            ~_known(ids, np.concatenate([u, v])),
        )


def check_tree(merges: Merges, ids: Ids | None = None) -> None:
    """Check that rows are a merge tree in canonical order.

    Args:
        merges: the rows.
        ids: uint64, sorted, the fragments that exist; None: the names in the rows are not checked.

    Raises:
        DamageError: The rows break a rule.
    """
    a, b, parent, sum, count = merges
    what = "the merge tree"
    _refuse(what, "its columns differ in length", [len({len(x) for x in merges}) != 1])
    _refuse(what, "a row names background (0)", a == 0)
    _refuse(what, "a row does not have a < b", a >= b)
    _refuse(what, "a parent is not the larger of its pair", parent != b)
    _refuse(what, "a row has a count of 0", count == 0)
    _refuse(what, "a row has a sum above 255 times its count", sum > MAXIMUM_AFFINITY * count)
    _refuse(what, "a cluster is merged twice", [len(np.unique(a)) != len(a)])
    ordered = _is_sorted(*(np.ascontiguousarray(x).astype(np.int64) for x in (a, b, sum, count)))
    _refuse(what, "rows are out of order", [not ordered])
    _refuse(what, "a cluster is merged before its own parts are", [_merges_early(a, parent)])
    if ids is not None:
        _refuse(what, "a row names a fragment that does not exist", ~_known(ids, np.concatenate([a, b])))


def _refuse(what: str, fault: str, bad: NDArray[np.bool_] | Sequence[bool]) -> None:
    """Raise DamageError if a row is bad."""
    rows = np.flatnonzero(bad)
    if len(rows):
        raise DamageError(f"{what} is damaged: {fault} (row {rows[0]}, {len(rows)} in all)")


def _known(ids: Ids, names: Ids) -> NDArray[np.bool_]:
    """Which names are among the sorted ids."""
    return places(ids, names)[1]


def _positions(ids: Ids, names: Ids) -> NDArray[np.intp]:
    """The place of each name in the sorted ids; DamageError if there is none."""
    known = _known(ids, names)
    if not known.all():
        raise DamageError(f"the merge tree names fragment {names[~known][0]}, which is not among the {len(ids)} given")
    return np.searchsorted(ids, names)


def _merges_early(a: Ids, parent: Ids) -> bool:
    """Whether the row in which a parent itself joins another cluster comes before a row of one of its children."""
    order = np.argsort(a)
    if len(a) == 0:
        return False
    at = np.minimum(np.searchsorted(a[order], parent), len(a) - 1)
    row = order[at]
    return bool(((a[row] == parent) & (row < np.arange(len(a)))).any())


@njit
def _resolve(segment: Any, a: Any, parent: Any) -> None:
    """Give each a the segment of its parent, the last row first; a and parent are places in `segment`."""
    for i in range(len(a) - 1, -1, -1):
        segment[a[i]] = segment[parent[i]]


@njit(error_model="numpy")
def _compare(a: Any, b: Any, sum: Any, count: Any, i: int, j: int) -> int:
    """Negative if row i comes before row j in canonical order."""
    sign = compare_means(sum[j] / count[j], sum[j], count[j], sum[i] / count[i], sum[i], count[i])
    if sign != 0:
        return sign
    if a[i] != a[j]:
        return -1 if a[i] < a[j] else 1
    if b[i] != b[j]:
        return -1 if b[i] < b[j] else 1
    return 0


@njit
def _is_sorted(a: Any, b: Any, sum: Any, count: Any) -> bool:
    """Whether rows are in canonical order."""
    for i in range(len(a) - 1):  # noqa: SIM110 - numba knows no all()
        if _compare(a, b, sum, count, i, i + 1) > 0:
            return False
    return True


@njit
def _exact_order(a: Any, b: Any, sum: Any, count: Any) -> Any:
    """Sort rows into canonical order: int64 (n,), by a bottom-up merge sort with the exact comparison."""
    n = len(a)
    order, spare = np.arange(n), np.empty(n, np.int64)
    width = 1
    while width < n:
        for low in range(0, n, 2 * width):
            middle, high = min(low + width, n), min(low + 2 * width, n)
            i, j = low, middle
            for k in range(low, high):
                left = i < middle and (j >= high or _compare(a, b, sum, count, order[i], order[j]) <= 0)
                spare[k] = order[i] if left else order[j]
                i, j = (i + 1, j) if left else (i, j + 1)
        order, spare = spare, order
        width *= 2
    return order
