"""Connected components of a label volume, and the table of its fragments."""

from typing import Any, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.kernels.compiled import njit


def relabel_components(
    labels: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, connectivity: Literal[6, 18, 26] = 6
) -> tuple[NDArray[np.uint32], int]:
    """Give every connected piece of equal label its own id.

    Args:
        labels: unsigned integers (z, y, x), 0 = background.
        mask: bool (z, y, x); the result is 0 outside it.
        connectivity: 6 (voxels that share a face), 18 (or an edge) or 26 (or a corner).

    Returns:
        uint32 (z, y, x), ids 1..n in the order of their first voxel in C order; and n.
    """
    if mask is not None:
        labels = np.where(mask, labels, labels.dtype.type(0))
    if labels.size == 0:
        return np.zeros(labels.shape, np.uint32), 0
    labels = np.ascontiguousarray(labels)
    components: Any = cc3d.connected_components(labels, connectivity=connectivity, out_dtype=np.uint32)
    n = _renumber(components.reshape(-1), np.zeros(int(components.max()) + 1, np.uint32))
    return components, int(n)


def fragment_table(labels: NDArray[np.uint32], n: int) -> dict[str, NDArray[Any]]:
    """Describe the fragments 1..n of a label volume; row i is fragment i + 1.

    Args:
        labels: uint32 (z, y, x), every number of 1..n occurs, 0 = background.
        n: number of fragments.

    Returns:
        Columns by name, with positions zyx in voxels of the array. `voxels`: int64 (n,). `begin` and `end`: int64
        (n, 3), the bounding box, end exclusive. `centroid`: float64 (n, 3), the mean of the voxel indices. `point`:
        int64 (n, 3), the fragment's voxel closest to the centroid, the first in C order if there are several.
    """
    labels = np.ascontiguousarray(labels)
    voxels, begin, end, total = _measure(labels, n)
    centroid = total / np.maximum(voxels, 1)[:, None]
    return {
        "voxels": voxels,
        "begin": begin,
        "end": end,
        "centroid": centroid,
        "point": _closest(labels, centroid),
    }


@njit
def _renumber(labels: Any, new: Any) -> int:
    """Renumber flat labels in place, in the order in which they first occur; returns the number of labels.

    new: uint32 (largest label + 1,), zeros.
    """
    n = 0
    for i in range(len(labels)):
        old = labels[i]
        if old == 0:
            continue
        if new[old] == 0:
            n += 1
            new[old] = n
        labels[i] = new[old]
    return n


@njit
def _measure(labels: Any, n: int) -> Any:
    """Voxels (n,), begin (n, 3), end (n, 3) and sum of the voxel indices (n, 3) of each fragment, all int64."""
    depth, height, width = labels.shape
    voxels = np.zeros(n, np.int64)
    begin = np.full((n, 3), max(depth, height, width), np.int64)
    end = np.zeros((n, 3), np.int64)
    total = np.zeros((n, 3), np.int64)
    for place, label in np.ndenumerate(labels):
        if label != 0:
            i = np.int64(label) - 1
            voxels[i] += 1
            for axis, at in enumerate(place):
                total[i, axis] += at
                begin[i, axis] = min(begin[i, axis], at)
                end[i, axis] = max(end[i, axis], at + 1)
    return voxels, begin, end, total


@njit
def _closest(labels: Any, centroid: Any) -> Any:
    """The voxel of each fragment that is closest to its centroid float64 (n, 3): int64 (n, 3)."""
    nearest = np.full(len(centroid), np.inf)
    point = np.zeros((len(centroid), 3), np.int64)
    for (z, y, x), label in np.ndenumerate(labels):
        if label != 0:
            i = np.int64(label) - 1
            c = centroid[i]
            distance = (z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2
            if distance < nearest[i]:
                nearest[i] = distance
                point[i] = z, y, x
    return point


def describe(labels: NDArray[np.uint32], n: int, box: Box) -> dict[str, NDArray[Any]]:
    """All columns of a fragment table except the ids.

    Args:
        labels: uint32 (z, y, x), 0 = background, otherwise 1..n.
        n: number of fragments.
        box: place of `labels` in the volume, voxels.

    Returns:
        Columns of n rows; positions are voxels of the volume.
    """
    rows: dict[str, NDArray[Any]] = fragment_table(labels, n) if n else _no_rows()
    for name in ("begin", "end", "point", "centroid"):
        rows[name] = rows[name] + np.asarray(box.begin, rows[name].dtype)
    return dict(rows)


def _no_rows() -> dict[str, NDArray[Any]]:
    return {
        "voxels": np.zeros(0, np.int64),
        "begin": np.zeros((0, 3), np.int64),
        "end": np.zeros((0, 3), np.int64),
        "centroid": np.zeros((0, 3), np.float64),
        "point": np.zeros((0, 3), np.int64),
    }
