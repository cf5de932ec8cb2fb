"""Steps that fragments methods share: the height map, its seeds, and the flood from the seeds.

1. Height: 255 minus the mean affinity of a voxel's faces. A section has the two faces that the y and x affinities of
   the voxel describe; a volume has all six (docs/decisions/watershed.md).
2. Inside: height below the boundary threshold. The squared Euclidean distance to the boundary is exact in float32.
3. Seeds: voxels whose distance is the largest in a box around them; seeds that touch are one seed.
4. The seeds flood the height map, membranes included, so that every voxel of tissue gets a fragment.
5. Tissue that no seed reaches becomes one fragment per connected piece: a blank section, for example, has no inside.

The result is a function of the arrays alone: no threads, no random numbers, ties are decided by C order.
"""

from typing import Any

import edt
import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.fragments.flood import BLOCKED, fill_unreached, flood, pack, plant, unpack
from fgnet_pipeline.kernels.fragments.method import Labels, Settings


def height_of_six_faces(affinities: Any) -> NDArray[np.uint8]:
    """255 minus the mean affinity of the six faces of a voxel, rounded half up.

    Channel c holds the face before a voxel on axis c. At the end of the array there is no face behind the voxel: the
    face before it counts twice.

    Args:
        affinities: uint8 (3, z, y, x).

    Returns:
        uint8 (z, y, x).
    """
    out = np.empty(affinities.shape[1:], np.uint8)
    _mean_of_six(np.ascontiguousarray(affinities), out)
    return out


@njit
def _mean_of_six(affinities: Any, out: Any) -> None:
    depth, height, width = out.shape
    for z in range(depth):
        behind = z + 1 if z + 1 < depth else z
        for y in range(height):
            below = y + 1 if y + 1 < height else y
            a, b, c = affinities[0, z, y], affinities[1, z, y], affinities[2, z, y]
            d, e = affinities[0, behind, y], affinities[1, z, below]
            for x in range(width):
                f = c[x + 1] if x + 1 < width else c[x]
                total = np.int64(a[x]) + np.int64(b[x]) + np.int64(c[x]) + np.int64(d[x]) + np.int64(e[x]) + np.int64(f)
                out[z, y, x] = (2 * (1530 - total) + 6) // 12


def seed_positions(height: Any, settings: Settings, mask: Any) -> NDArray[np.int64]:
    """Find the seeds: voxels inside whose distance to the boundary is the largest in the box around them.

    Args:
        height: uint8 (z, y, x).
        settings: the boundary threshold and the radius of the box are used.
        mask: bool (z, y, x) or None; voxels outside it are boundary.

    Returns:
        int64 (n, 3), positions zyx in C order; one voxel if the array holds no boundary at all.
    """
    inside = height < settings.height_limit if mask is None else (height < settings.height_limit) & mask
    inside = inside.view(np.uint8)  # edt takes a third longer over bool
    distance = edt.edtsq(inside[0] if len(inside) == 1 else inside, parallel=1).reshape(inside.shape)
    if not np.isfinite(distance[0, 0, 0]):
        return np.zeros((1, 3), np.int64)  # no boundary anywhere: every voxel is as good a seed as another
    return _maxima(distance, settings.min_seed_distance)


@njit
def _maxima(distance: Any, radius: int) -> Any:
    """Voxels inside whose distance is the largest in the box of this radius: int64 (n, 3), in C order."""
    depth, height, width = distance.shape
    found, n = np.empty((256, 3), np.int64), 0
    for z in range(depth):
        for y in range(height):
            row = distance[z, y]
            above, below = distance[z, max(y - 1, 0)], distance[z, min(y + 1, height - 1)]
            before, behind = distance[max(z - 1, 0), y], distance[min(z + 1, depth - 1), y]
            for x in range(width):
                here = row[x]
                if here == 0 or row[max(x - 1, 0)] > here or row[min(x + 1, width - 1)] > here:
                    continue
                if above[x] > here or below[x] > here or before[x] > here or behind[x] > here:
                    continue
                if not _is_largest(distance, z, y, x, radius):
                    continue
                if n == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[n, 0], found[n, 1], found[n, 2] = z, y, x
                n += 1
    return found[:n].copy()


@njit
def _is_largest(distance: Any, z: int, y: int, x: int, radius: int) -> bool:
    """True unless the box of this radius holds a larger distance; near sections first, where most of those lie."""
    depth, height, width = distance.shape
    here = distance[z, y, x]
    for k in range(2 * radius + 1):
        near = z + (k + 1) // 2 if k % 2 else z - k // 2
        if near < 0 or near >= depth:
            continue
        for row in range(max(y - radius, 0), min(y + radius + 1, height)):
            for column in range(max(x - radius, 0), min(x + radius + 1, width)):
                if distance[near, row, column] > here:
                    return False
    return True


def flooded(height: Any, mask: Any, positions: Any, labels: Any = None) -> Labels:
    """Flood from the seeds over the height map, then give the pieces that no seed reaches new labels.

    Args:
        height: uint8 (z, y, x).
        mask: bool (z, y, x) or None; voxels outside it stay 0.
        positions: int64 (n, 3), seed voxels zyx.
        labels: uint32 (n,), labels of the seed voxels, 1... By default 1... in C order, one label for seeds that touch.

    Returns:
        uint32 (z, y, x): 0 outside the mask, otherwise 1..n.

    Raises:
        ValueError: The block has too many voxels for 32-bit positions, or too many fragments for 24-bit labels.
    """
    if height.size >= 2**31 - 2**24:
        raise ValueError(f"a block of {height.size} voxels is too large for 32-bit positions: use smaller blocks")
    words = pack(height, np.empty((0, 0, 0), np.bool_) if mask is None else mask)
    planes, rows = words[0].size, words.shape[2]
    flat, seeds = words.reshape(-1), (positions + 1) @ np.array([planes, rows, 1])
    last = len(seeds) if labels is None else int(labels.max(initial=0))
    if last < BLOCKED:
        if labels is None:
            last = plant(flat, seeds, planes, rows)
        else:
            flat[seeds] |= labels << np.uint32(8)
        steps = np.array([-planes, -rows, -1, 1, rows, planes], np.int64)
        flood(flat, seeds, steps)
        last = fill_unreached(flat, steps, last)
    if last >= BLOCKED:
        raise ValueError(f"more than {BLOCKED - 1} fragments in one block of {height.size} voxels: use smaller blocks")
    return unpack(words)
