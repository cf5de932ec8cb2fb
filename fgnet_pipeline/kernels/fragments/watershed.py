"""Fragments (supervoxels) from affinities by seeded watershed.

1. Height: 255 minus the mean affinity of a voxel's faces: of the two that its y and x affinities describe for a
   section, of all six for a volume (docs/decisions/watershed.md).
2. Inside: height below the boundary threshold. Its squared Euclidean distance to the boundary is exact in float32.
3. Seeds: voxels whose distance is the largest in a box around them; touching seeds are one seed.
4. The seeds flood the height map, membranes included, so that every voxel of tissue gets a fragment.
5. Tissue that no seed reaches (no inside at all, as in a blank section) becomes one fragment a connected piece.

Everything is a function of the arrays alone: no threads, no random numbers, ties by C order.
"""

import ctypes
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, Literal

import edt
import numpy as np
from numba import njit
from numpy.typing import NDArray

from fgnet_pipeline.kernels.fragments.flood import BLOCKED, fill_unreached, flood, pack, plant, unpack

Method = Literal["sections", "volume", "waterz"]
Labels = NDArray[np.uint32]


def segment_fragments(
    affinities: NDArray[np.uint8],
    method: Method = "sections",
    *,
    boundary_threshold: float = 0.5,
    min_seed_distance: int = 3,
    mask: NDArray[np.bool_] | None = None,
) -> Labels:
    """Cut a volume into fragments.

    affinities: uint8 (C >= 3, z, y, x), 255 = same object; channels 0..2 are the nearest neighbours before a voxel in
    z, y and x; others are not used. Floats are refused: the caller scales them, and decides what NaN means.
    method: "sections" (2D, section by section, with y and x affinities), "volume" (3D) or "waterz" (its own
    watershed). boundary_threshold: in [0, 1]; a voxel is inside where 1 - affinity is below it. min_seed_distance:
    voxels; a seed is the maximum of a box of this radius. mask: bool (z, y, x), false = background.
    Returns uint32 (z, y, x): 0 outside the mask, otherwise 1..n; a label need not be connected for "waterz".
    Raises ValueError on another dtype, shape or method.
    """
    if affinities.dtype != np.uint8 or affinities.ndim != 4 or len(affinities) < 3:
        raise ValueError(f"affinities must be uint8 (C >= 3, z, y, x), not {affinities.dtype} {affinities.shape}")
    if method not in ("sections", "volume", "waterz"):
        raise ValueError(f"method must be 'sections', 'volume' or 'waterz', not {method!r}")
    if affinities[0].size == 0:
        return np.zeros(affinities.shape[1:], np.uint32)
    limit = round(255 * boundary_threshold)
    if method == "sections":
        return _by_sections(affinities, limit, min_seed_distance, mask)
    height = _height(affinities[:3], True)
    if method == "volume":
        return _flooded(height, mask, _seeds(_distance(height, limit, mask), min_seed_distance))
    return _flooded(height, mask, *_waterz_seeds(affinities, mask))


def _by_sections(affinities: Any, limit: int, radius: int, mask: Any) -> Labels:
    out = np.zeros(affinities.shape[1:], np.uint32)
    total = 0
    for z in range(len(out)):
        height = _height(affinities[1:3, z : z + 1], False)
        section = None if mask is None else mask[z : z + 1]
        found = _flooded(height, section, _seeds(_distance(height, limit, section), radius))[0]
        out[z] = np.where(found > 0, found + np.uint32(total), np.uint32(0))
        total += int(found.max())
    return out


def _height(affinities: Any, six: bool) -> NDArray[np.uint8]:
    """255 minus the mean affinity of a voxel's faces, rounded half up. uint8 (c, z, y, x) -> uint8 (z, y, x).

    six: take the faces before and behind the voxel on all three axes (at the end of the array, where there is none
    behind, the one before it counts twice). Otherwise the mean of the two channels given.
    """
    out = np.empty(affinities.shape[1:], np.uint8)
    if six:
        _mean_of_six(np.ascontiguousarray(affinities), out)
    else:
        _mean_of_two(np.ascontiguousarray(affinities), out)
    return out


@njit(cache=True)
def _mean_of_two(affinities: Any, out: Any) -> None:
    one, two, target = affinities[0].reshape(-1), affinities[1].reshape(-1), out.reshape(-1)
    for p in range(len(target)):
        target[p] = 255 - ((np.int64(one[p]) + np.int64(two[p])) >> 1)


@njit(cache=True)
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


def _distance(height: Any, limit: int, mask: Any) -> NDArray[np.float32]:
    """Squared distance (voxels) to the nearest voxel that is not inside; one large value if all are inside."""
    inside = height < limit if mask is None else (height < limit) & mask
    inside = inside.view(np.uint8)  # edt takes a third longer over bool
    return edt.edtsq(inside[0] if len(inside) == 1 else inside, parallel=1).reshape(inside.shape)


def _seeds(distance: Any, radius: int) -> NDArray[np.int64]:
    """Positions int64 (n, 3) of the seed voxels, in C order."""
    if not np.isfinite(distance[0, 0, 0]):
        return np.zeros((1, 3), np.int64)  # no boundary anywhere: one plateau, and any voxel of it will do
    return _maxima(distance, radius)


@njit(cache=True)
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


@njit(cache=True)
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


def _flooded(height: Any, mask: Any, positions: Any, labels: Any = None) -> Labels:
    """Flood from the seeds over the height map, then give the pieces that no seed reaches new labels.

    positions: int64 (n, 3). labels: uint32 (n,), by default 1..., in C order, one for seeds that touch.
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


def _waterz_seeds(affinities: Any, mask: Any) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    found = _waterz(affinities)
    if mask is not None:
        found[~mask] = 0
    positions = np.argwhere(found > 0)
    return positions, np.unique(found[found > 0], return_inverse=True)[1].astype(np.uint32) + np.uint32(1)


def _waterz(affinities: Any) -> NDArray[np.uint64]:
    """waterz's own watershed: uint64 (z, y, x), 0 where it leaves background; it needs float32 and writes to fd 1."""
    import waterz

    scaled = affinities[:3].astype(np.float32) / 255
    with _quiet():
        found = next(waterz.agglomerate(scaled, [0.0], aff_threshold_low=0.0001, aff_threshold_high=0.9999))
        return np.array(found, copy=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what Python and C++ code write to standard output (for the whole process, meanwhile)."""
    sys.stdout.flush()
    saved, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(saved, 1)
        os.close(saved)
        os.close(null)
