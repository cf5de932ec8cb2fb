"""How clusters grow along a merge tree: the sizes that every merge joins, and the merge that joins two fragments."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.agglomeration.merge_tree import Ids, Merges
from fgnet_pipeline.kernels.compiled import njit

Counts = NDArray[np.int64]
Rows = NDArray[np.int64]


def sizes_joined(names: Ids, voxels: Counts, merges: Merges) -> tuple[Counts, Counts]:
    """The voxels of both clusters before every merge.

    Args:
        names: uint64 (n,), sorted, unique; all that the rows name.
        voxels: int64 (n,), size of each.
        merges: m rows in canonical order, in which clusters grow.

    Returns:
        int64 (m,) each: voxels of cluster `a`, voxels of cluster `b`.
    """
    a, b = np.searchsorted(names, merges.a), np.searchsorted(names, merges.parent)
    return _grow(voxels.astype(np.int64), a, b)  # type: ignore[no-any-return]


def joining_rows(names: Ids, merges: Merges, u: Ids, v: Ids) -> Rows:
    """The merge after which two fragments are in one cluster.

    A tree is a forest of pointers from `a` to `parent`, and the rows along the pointers rise. So of two clusters that
    differ, the one whose pointer has the smaller row moves on, until both are the same cluster.

    Args:
        names: uint64 (n,), sorted, unique; all that the rows name, and all of `u` and `v`.
        merges: rows in canonical order.
        u: uint64 (m,), fragments.
        v: uint64 (m,), fragments.

    Returns:
        int64 (m,), places in `merges`; -1 if no merge joins the two. A pair of one fragment has -1, too.
    """
    row = np.full(len(names), len(merges.a), np.int64)
    above = np.arange(len(names))
    a = np.searchsorted(names, merges.a)
    row[a] = np.arange(len(a))
    above[a] = np.searchsorted(names, merges.parent)
    return _join(row, above, np.searchsorted(names, u), np.searchsorted(names, v), len(a))  # type: ignore[no-any-return]


@njit
def _grow(voxels: Any, a: Any, b: Any) -> Any:
    """Sizes of both sides of each merge; `voxels` is changed."""
    of_a, of_b = np.empty(len(a), np.int64), np.empty(len(a), np.int64)
    for i in range(len(a)):
        of_a[i], of_b[i] = voxels[a[i]], voxels[b[i]]
        voxels[b[i]] += voxels[a[i]]
    return of_a, of_b


@njit
def _join(row: Any, above: Any, u: Any, v: Any, rows: int) -> Any:
    """The row at which the pointers of each pair meet; `row` is `rows` at a cluster without a pointer."""
    found = np.empty(len(u), np.int64)
    for i in range(len(u)):
        one, other, last = u[i], v[i], -1
        while one != other:
            if row[one] > row[other]:
                one, other = other, one
            last = row[one]
            if last == rows:
                last = -1
                break
            one = above[one]
        found[i] = last
    return found
