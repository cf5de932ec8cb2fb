"""Halve the resolution of voxels: one cell of the result has 1 or 2 children along each axis."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Vector, vector

#: Of a cell of 2 x 2 x 2 children, in scan order.
CORNERS: tuple[Vector, ...] = tuple(vector(corner) for corner in itertools.product((0, 1), repeat=3))
#: Children that are reduced at once, in bytes.
SLAB_BYTES = 1 << 22

Voxels = npt.NDArray[Any]


def cells_of(children: Box, step: Vector) -> Box:
    """The cells that have a child in the box `children`. A cell has `step` children along each axis, zyx."""
    begin = np.floor_divide(children.begin, step)
    return Box(vector(begin), vector(-np.floor_divide(np.negative(children.end), step)))


def by_mode(children: Voxels, begin: Vector, step: Vector) -> Voxels:
    """The most frequent id of the children of each cell.

    Among ids that are equally frequent, background yields to all others, and then the id wins that comes first in the
    scan order z, y, x. So the result does not depend on how the ids are numbered.

    Args:
        children: ids of an unsigned type, (z, y, x), 0 = background. Children outside the array do not count.
        begin: position of the first child, zyx.
        step: children of a cell along each axis, zyx, each 1 or 2.

    Returns:
        Ids of the cells `cells_of(box of the children, step)`, of the type of `children`.
    """
    return _by_slabs(_modes, _completed(children, begin, step), step)


def by_mean(children: Voxels, begin: Vector, step: Vector) -> Voxels:
    """The mean of the children of each cell, rounded to the type of the children; halves go to the even number.

    Args:
        children: numbers of any real type, (z, y, x) or (C, z, y, x). Children outside the array do not count.
        begin: position of the first child, zyx.
        step: children of a cell along each axis, zyx, each 1 or 2.

    Returns:
        Values of the cells `cells_of(box of the children, step)`, of the type and with the channels of `children`.
    """
    if children.ndim == 4:
        return np.stack([by_mean(channel, begin, step) for channel in children])
    if children.dtype == np.float16:
        return by_mean(children.astype(np.float32), begin, step).astype(np.float16)
    if children.dtype.kind == "b":
        return by_mean(children.astype(np.uint8), begin, step).astype(bool)
    if children.dtype == np.uint64:
        # Moved by 2^63 the values fit a signed type. The mean moves by the same even number.
        moved = (children ^ np.uint64(1 << 63)).view(np.int64)
        return by_mean(moved, begin, step).view(np.uint64) ^ np.uint64(1 << 63)
    means = _float_means if children.dtype.kind == "f" else _integer_means
    return _by_slabs(means, _completed(children, begin, step), step)


def _completed(children: Voxels, begin: Vector, step: Vector) -> Voxels:
    """The children, with those at a face repeated so that every cell has all of its children.

    Then each child of a cell counts equally often, so neither mode nor mean changes.
    """
    missing = []
    for first, length, side in zip(begin, children.shape, step, strict=True):
        missing.append((first % side, -(first + length) % side))
    return np.pad(children, missing, mode="edge") if np.any(missing) else np.ascontiguousarray(children)


def _by_slabs(reduce: Callable[[Voxels, Vector], Voxels], children: Voxels, step: Vector) -> Voxels:
    """Reduce complete cells, in slabs of sections that fit the cache of a core, which takes half the time."""
    result = np.empty(np.floor_divide(children.shape, step), children.dtype)
    cells = max(1, SLAB_BYTES // max(1, children[: step[0]].nbytes))
    for first in range(0, len(result), cells):
        slab = slice(first, first + cells)
        result[slab] = reduce(children[first * step[0] : (first + cells) * step[0]], step)
    return result


def _part(at: Vector, step: Vector) -> tuple[slice, ...]:
    """Slices of the children at the corner `at` (each 0 or 1) of every cell."""
    return tuple(slice(min(corner, side - 1), None, side) for corner, side in zip(at, step, strict=True))


def _modes(children: Voxels, step: Vector) -> Voxels:
    result = children[_part((0, 0, 0), step)].copy()
    mixed = _mixed(children, step)
    if not mixed.any():
        return result
    # Cells with one id are nearly all; only the others are counted.
    cells = np.flatnonzero(mixed)
    at = np.unravel_index(cells, mixed.shape)
    first = np.ravel_multi_index([along * side for along, side in zip(at, step, strict=True)], children.shape)
    flat, strides = children.ravel(), np.array(children.strides) // children.itemsize * (np.array(step) - 1)
    values = np.stack([flat[first + strides @ corner] for corner in CORNERS])
    rank = np.ones(values.shape, np.uint8)  # the frequency; then twice that, and one more for what is not background
    for a, b in itertools.combinations(range(len(CORNERS)), 2):
        equal = (values[a] == values[b]).view(np.uint8)
        rank[a] += equal
        rank[b] += equal
    rank = 2 * rank + (values != 0)
    best = rank.argmax(axis=0)  # the first of the highest
    result.ravel()[cells] = values[best, np.arange(len(best))]
    return result


def _mixed(children: Voxels, step: Vector) -> npt.NDArray[np.bool_]:
    """Which cells have children of more than one id. Axes are halved one after the other, the slowest first."""
    mixed = np.zeros(children.shape, bool)
    for axis, side in enumerate(step):
        if side == 2:
            first, second = ((slice(None),) * axis + (slice(at, None, 2),) for at in (0, 1))
            mixed = mixed[first] | mixed[second] | (children[first] != children[second])
            children = children[first]
    return mixed


def _sum(children: Voxels, step: Vector, dtype: type[np.number[Any]]) -> Voxels:
    """The sum of the children at the corners of each cell, in `dtype`."""
    total = children[_part(CORNERS[0], step)].astype(dtype)
    for corner in CORNERS[1:]:
        total += children[_part(corner, step)]
    return total


def _integer_means(children: Voxels, step: Vector) -> Voxels:
    """Means of integers. Those of 64 bits are divided before they are summed, so that no sum overflows."""
    size = children.dtype.itemsize
    if size < 8:
        quotient, remainder = np.zeros((), np.int64), _sum(children, step, np.int32 if size < 4 else np.int64)
    else:
        quotient, remainder = (_sum(part, step, np.int64) for part in (children >> 3, children & 7))
    means: Voxels = (remainder >> 3) + quotient
    rest = remainder & 7
    return means + ((rest > 4) | ((rest == 4) & (means & 1 == 1)))


def _float_means(children: Voxels, step: Vector) -> Voxels:
    return _sum(children, step, np.float64) / 8
