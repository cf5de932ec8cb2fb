"""Sums rows of fragments up to rows of segments: sizes, numbers of fragments, boxes, and a voxel inside.

Rows are columns of one length: `segment`, `id`, `voxels`, `fragments`, `largest`, `point`, and with boxes `begin` and
`end`. A row may stand for one fragment or for some fragments of a segment, so rows of parts of a volume can be put
together and summed up again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Rows = dict[str, npt.NDArray[Any]]


def summed_by(
    ids: npt.NDArray[np.uint64], values: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The distinct ids (k,), sorted, and the sum of the values (n,) of each, given the id (n,) of each value."""
    found, which = np.unique(ids, return_inverse=True)
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, which, values)
    return found, sums


def first_rows(segments: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which rows are the first of their segment: bool (n,).

    Args:
        segments: (n,), sorted.
    """
    first = np.ones(len(segments), bool)
    first[1:] = segments[1:] != segments[:-1]
    return first


def united(rows: Rows) -> Rows:
    """One row per fragment: fragments that another program made may have rows in the tables of several blocks.

    Args:
        rows: `id` (n,), `voxels` (n,), `point` (n, 3), and with boxes `begin`, `end` (n, 3).

    Returns:
        The same columns, sorted by id. The point is that of the first of the rows.
    """
    ids, first, which = np.unique(rows["id"], return_index=True, return_inverse=True)
    if len(ids) == len(rows["id"]):
        return {name: values[first] for name, values in rows.items()}
    voxels = np.zeros(len(ids), np.int64)
    np.add.at(voxels, which, rows["voxels"])
    result = {name: values[first].copy() for name, values in rows.items()} | {"voxels": voxels}
    if "begin" in rows:
        np.minimum.at(result["begin"], which, rows["begin"])
        np.maximum.at(result["end"], which, rows["end"])
    return result


def of_fragments(segments: npt.NDArray[np.uint64], rows: Rows) -> Rows:
    """Rows of segments, one per fragment.

    Args:
        segments: uint64 (n,), segment of each row.
        rows: as `united` gives them.
    """
    ones = np.ones(len(segments), np.int64)
    return rows | {"segment": segments, "fragments": ones, "largest": rows["voxels"].astype(np.int64)}


def by_segment(rows: Rows) -> Rows:
    """One row per segment.

    Args:
        rows: all columns of the module's docstring, with or without boxes; `largest` is the size of the largest
            fragment of the row, `id` this fragment, and `point` one of its voxels.

    Returns:
        The same columns, sorted by segment. Of fragments of equal size the one of the smaller id gives the point.
    """
    order = np.lexsort((rows["id"], -rows["largest"], rows["segment"]))
    rows = {name: values[order] for name, values in rows.items()}
    first = np.flatnonzero(first_rows(rows["segment"]))
    result = {name: values[first] for name, values in rows.items()}
    if len(first) == len(order):
        return result
    for name, sum_up in (("voxels", np.add), ("fragments", np.add), ("begin", np.minimum), ("end", np.maximum)):
        if name in rows:
            result[name] = sum_up.reduceat(rows[name], first, axis=0)
    return result


def concatenated(parts: list[Rows]) -> Rows:
    """The rows of several parts, which have the same columns."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
