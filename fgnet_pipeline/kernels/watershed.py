"""Fragments (supervoxels) from affinities by seeded watershed.

1. Height: 255 minus the mean of the affinities at a voxel (y and x for a section, z, y and x for a volume).
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

from fgnet_pipeline.kernels.flood import BLOCKED, flood

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
    height = _height(affinities[:3])
    labels = _padded_labels(height.shape, mask)
    if method == "volume":
        _seed(labels, _distance(height, limit, mask), min_seed_distance)
    else:
        inner = labels[1:-1, 1:-1, 1:-1]
        inner[inner == 0] = _waterz(affinities)[inner == 0]
    return _flooded(height, labels)


def _by_sections(affinities: Any, limit: int, radius: int, mask: Any) -> Labels:
    out = np.zeros(affinities.shape[1:], np.uint32)
    total = 0
    for z in range(len(out)):
        height = _height(affinities[1:3, z : z + 1])
        section = None if mask is None else mask[z : z + 1]
        labels = _padded_labels(height.shape, section)
        _seed(labels, _distance(height, limit, section), radius)
        found = _flooded(height, labels)[0]
        out[z] = np.where(found > 0, found + np.uint32(total), np.uint32(0))
        total += int(found.max())
    return out


def _height(affinities: Any) -> NDArray[np.uint8]:
    """255 minus the mean of the channels, rounded half up. uint8 (c, z, y, x) -> uint8 (z, y, x)."""
    out = np.empty(affinities.shape[1:], np.uint8)
    _mean_height(np.ascontiguousarray(affinities), out)
    return out


@njit(cache=True)
def _mean_height(affinities: Any, out: Any) -> None:
    channels = len(affinities)
    flat, target = affinities.reshape(channels, -1), out.reshape(-1)
    for p in range(len(target)):
        total = 0
        for c in range(channels):
            total += 255 - flat[c, p]
        target[p] = (2 * total + channels) // (2 * channels)


def _distance(height: Any, limit: int, mask: Any) -> NDArray[np.float32]:
    """Squared distance (voxels) to the nearest voxel that is not inside; large and constant if all are inside."""
    inside = height < limit if mask is None else (height < limit) & mask
    squared = edt.edtsq(inside[0] if len(inside) == 1 else inside, parallel=1).reshape(inside.shape)
    return np.minimum(squared, np.float32(2**24))


def _padded_labels(shape: tuple[int, ...], mask: Any) -> NDArray[np.int32]:
    labels = np.full([n + 2 for n in shape], BLOCKED, np.int32)
    labels[1:-1, 1:-1, 1:-1] = 0 if mask is None else np.where(mask, 0, BLOCKED)
    return labels


def _seed(labels: Any, distance: Any, radius: int) -> None:
    """Write the seeds, numbered from 1 in C order, into the padded labels."""
    found = np.array(_maxima(distance, radius), np.int64).reshape(-1, 3)
    _join_touching(labels, found + 1)


@njit(cache=True)
def _maxima(distance: Any, radius: int) -> Any:
    """Voxels (z, y, x) inside whose distance is the largest in the box of this radius, in C order."""
    depth, height, width = distance.shape
    found = [(0, 0, 0) for _ in range(0)]
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                here = distance[z, y, x]
                if here == 0 or (x > 0 and distance[z, y, x - 1] > here):
                    continue
                if x + 1 < width and distance[z, y, x + 1] > here:
                    continue
                if _is_largest(distance, z, y, x, radius):
                    found.append((z, y, x))
    return found


@njit(cache=True)
def _is_largest(distance: Any, z: int, y: int, x: int, radius: int) -> bool:
    depth, height, width = distance.shape
    here = distance[z, y, x]
    for near in range(max(z - radius, 0), min(z + radius + 1, depth)):
        for row in range(max(y - radius, 0), min(y + radius + 1, height)):
            for column in range(max(x - radius, 0), min(x + radius + 1, width)):
                if distance[near, row, column] > here:
                    return False
    return True


@njit(cache=True)
def _join_touching(labels: Any, seeds: Any) -> None:
    """Label the seeds (n, 3), in C order; seeds that touch by face, edge or corner share a label."""
    n = len(seeds)
    parent = np.arange(n + 1)
    for i in range(n):
        z, y, x = seeds[i]
        labels[z, y, x] = i + 1
        for k in range(13):
            other = labels[z + k // 9 - 1, y + (k // 3) % 3 - 1, x + k % 3 - 1]
            if other > 0:
                a, b = _root(parent, np.int64(other)), _root(parent, i + 1)
                parent[max(a, b)] = min(a, b)
    new = np.zeros(n + 1, np.int32)
    count = 0
    for i in range(1, n + 1):
        root = _root(parent, i)
        if root == i:
            count += 1
            new[i] = count
        labels[seeds[i - 1, 0], seeds[i - 1, 1], seeds[i - 1, 2]] = new[root]


@njit(cache=True)
def _root(parent: Any, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _flooded(height: Any, labels: Any) -> Labels:
    """Flood the padded labels over the height map, then give unreached pieces new labels; remove the padding."""
    padded = np.zeros(labels.shape, np.uint8)
    padded[1:-1, 1:-1, 1:-1] = height
    steps = np.array([-labels[0].size, -labels.shape[2], -1, 1, labels.shape[2], labels[0].size], np.int64)
    if len(height) == 1:
        steps = steps[1:-1]
    flat, scratch = labels.reshape(-1), np.empty(labels.size, np.int32)
    flood(padded.reshape(-1), flat, scratch, steps)
    _fill_unreached(flat, scratch, steps, int(flat.max()))
    inner = labels[1:-1, 1:-1, 1:-1]
    return np.where(inner > 0, inner, 0).astype(np.uint32)


@njit(cache=True)
def _fill_unreached(labels: Any, stack: Any, steps: Any, last: int) -> None:
    """Give every connected piece of voxels still at 0 a label after `last`, in the order of its first voxel."""
    for start in range(len(labels)):
        if labels[start] != 0:
            continue
        last += 1
        labels[start] = last
        stack[0] = start
        size = 1
        while size > 0:
            size -= 1
            p = stack[size]
            for s in steps:
                if labels[p + s] == 0:
                    labels[p + s] = last
                    stack[size] = p + s
                    size += 1


def _waterz(affinities: Any) -> NDArray[np.int32]:
    """waterz's own watershed: int32 (z, y, x), 0 where it leaves background; it needs float32 and writes to fd 1."""
    import waterz

    scaled = affinities[:3].astype(np.float32) / 255
    with _quiet():
        found = next(waterz.agglomerate(scaled, [0.0], aff_threshold_low=0.0001, aff_threshold_high=0.9999))
        labels = np.unique(np.array(found, copy=True), return_inverse=True)
    offset = 0 if labels[0][0] == 0 else 1
    return (labels[1].reshape(affinities.shape[1:]) + offset).astype(np.int32)


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
