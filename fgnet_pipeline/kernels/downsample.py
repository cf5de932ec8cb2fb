"""Halve the resolution of voxels: one cell of the result has 1 or 2 children along each axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.kernels.compiled import njit

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
    return _reduced(_modes, children, begin, step)


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
    return _reduced(_float_means if children.dtype.kind == "f" else _integer_means, children, begin, step)


def _reduced(kernel: Any, children: Voxels, begin: Vector, step: Vector) -> Voxels:
    box = Box(begin, vector(np.add(begin, children.shape)))
    cells = cells_of(box, step)
    result = np.empty(cells.shape, children.dtype)
    first = vector(np.multiply(cells.begin, step) - begin)  # of the children of cell 0; -1 if only its second is inside
    kernel(np.ascontiguousarray(children), first, step, result)
    return result


@njit
def _modes(children: Any, first: Any, step: Any, result: Any) -> None:
    depth, height, width = children.shape
    for z in range(result.shape[0]):
        z0, z1 = max(0, first[0] + z * step[0]), min(depth, first[0] + (z + 1) * step[0])
        for y in range(result.shape[1]):
            y0, y1 = max(0, first[1] + y * step[1]), min(height, first[1] + (y + 1) * step[1])
            for x in range(result.shape[2]):
                x0, x1 = max(0, first[2] + x * step[2]), min(width, first[2] + (x + 1) * step[2])
                result[z, y, x] = _mode(children, z0, z1, y0, y1, x0, x1)


@njit
def _mode(children: Any, z0: int, z1: int, y0: int, y1: int, x0: int, x1: int) -> Any:
    """The mode of a box of at most 8 children."""
    value, number = children[z0, y0, x0], (z1 - z0) * (y1 - y0) * (x1 - x0)
    most = _count(children, value, z0, z1, y0, y1, x0, x1)
    if most == number:
        return value
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                candidate = children[z, y, x]
                count = _count(children, candidate, z0, z1, y0, y1, x0, x1)
                if count > most or (count == most and value == 0):
                    most, value = count, candidate
    return value


@njit
def _count(children: Any, value: Any, z0: int, z1: int, y0: int, y1: int, x0: int, x1: int) -> int:
    count = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                count += children[z, y, x] == value
    return count


@njit
def _integer_means(children: Any, first: Any, step: Any, result: Any) -> None:
    """Quotients and remainders are summed apart, so that no sum overflows 64 bits."""
    depth, height, width = children.shape
    for z in range(result.shape[0]):
        z0, z1 = max(0, first[0] + z * step[0]), min(depth, first[0] + (z + 1) * step[0])
        for y in range(result.shape[1]):
            y0, y1 = max(0, first[1] + y * step[1]), min(height, first[1] + (y + 1) * step[1])
            for x in range(result.shape[2]):
                x0, x1 = max(0, first[2] + x * step[2]), min(width, first[2] + (x + 1) * step[2])
                number = (z1 - z0) * (y1 - y0) * (x1 - x0)  # 1, 2, 4 or 8
                shift = (z1 - z0 - 1) + (y1 - y0 - 1) + (x1 - x0 - 1)
                quotient, remainder = np.int64(0), np.int64(0)
                for child_z in range(z0, z1):
                    for child_y in range(y0, y1):
                        for child_x in range(x0, x1):
                            value = np.int64(children[child_z, child_y, child_x])
                            quotient += value >> shift
                            remainder += value & (number - 1)
                quotient += remainder >> shift
                twice = 2 * (remainder & (number - 1))
                if twice > number or (twice == number and quotient & 1):
                    quotient += 1
                result[z, y, x] = quotient


@njit
def _float_means(children: Any, first: Any, step: Any, result: Any) -> None:
    depth, height, width = children.shape
    for z in range(result.shape[0]):
        z0, z1 = max(0, first[0] + z * step[0]), min(depth, first[0] + (z + 1) * step[0])
        for y in range(result.shape[1]):
            y0, y1 = max(0, first[1] + y * step[1]), min(height, first[1] + (y + 1) * step[1])
            for x in range(result.shape[2]):
                x0, x1 = max(0, first[2] + x * step[2]), min(width, first[2] + (x + 1) * step[2])
                total = 0.0
                for child_z in range(z0, z1):
                    for child_y in range(y0, y1):
                        for child_x in range(x0, x1):
                            total += children[child_z, child_y, child_x]
                result[z, y, x] = total / ((z1 - z0) * (y1 - y0) * (x1 - x0))
