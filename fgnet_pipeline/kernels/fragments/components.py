"""Connected components of a label volume, and the table of its fragments."""

from typing import Any, Literal

import cc3d
import numpy as np
from numba import njit
from numpy.typing import NDArray


def relabel_components(
    labels: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, connectivity: Literal[6, 18, 26] = 6
) -> tuple[NDArray[np.uint32], int]:
    """Give every connected piece of equal label its own id.

    labels: unsigned integers (z, y, x), 0 = background. mask: bool (z, y, x); where false the result is 0.
    connectivity: 6 (faces), 18 or 26. Returns (uint32 (z, y, x) with ids dense 1..n in the order of their first
    voxel in C order, n).
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
    """Describe the fragments 1..n of a label volume, row i is fragment i + 1.

    labels: uint32 (z, y, x), dense 1..n, 0 = background. All positions are zyx voxels of this array. Returns
    `voxels` int64 (n,); `begin` and `end` int64 (n, 3), the bounding box, end exclusive; `centroid` float64 (n, 3),
    the mean of the voxel indices; `point` int64 (n, 3), the fragment's voxel closest to its centroid (the first in C
    order of several).
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


@njit(cache=True)
def _renumber(labels: Any, new: Any) -> int:
    """Renumber in place by first occurrence; `new` is zeros (max + 1,). Returns the number of labels."""
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


@njit(cache=True)
def _measure(labels: Any, n: int) -> Any:
    depth, height, width = labels.shape
    voxels = np.zeros(n, np.int64)
    begin = np.full((n, 3), max(depth, height, width), np.int64)
    end = np.zeros((n, 3), np.int64)
    total = np.zeros((n, 3), np.int64)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if labels[z, y, x] == 0:
                    continue
                i = np.int64(labels[z, y, x]) - 1
                voxels[i] += 1
                for axis, at in enumerate((z, y, x)):
                    total[i, axis] += at
                    begin[i, axis] = min(begin[i, axis], at)
                    end[i, axis] = max(end[i, axis], at + 1)
    return voxels, begin, end, total


@njit(cache=True)
def _closest(labels: Any, centroid: Any) -> Any:
    depth, height, width = labels.shape
    nearest = np.full(len(centroid), np.inf)
    point = np.zeros((len(centroid), 3), np.int64)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if labels[z, y, x] == 0:
                    continue
                i = np.int64(labels[z, y, x]) - 1
                c = centroid[i]
                distance = (z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2
                if distance < nearest[i]:
                    nearest[i] = distance
                    point[i, 0], point[i, 1], point[i, 2] = z, y, x
    return point
