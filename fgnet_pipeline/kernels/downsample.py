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


# A cell with fewer than 8 children takes the children at its corners, so that each counts equally often: twice, four
# times or eight times. Neither the mode nor the mean changes, and the inner loop has one form.


@njit
def _corners(length: int, first: int, step: int, cell: int) -> Any:
    """The first and the last child of a cell along one axis."""
    return max(0, first + cell * step), min(length, first + (cell + 1) * step) - 1


@njit
def _row(children: Any, first: Any, step: Any, cell_z: Any, cell_y: Any, values: Any) -> None:
    """Put the children at the corners of a row of cells into `values` (cells along x, 8), in scan order."""
    depth, height, width = children.shape
    z, y = _corners(depth, first[0], step[0], cell_z), _corners(height, first[1], step[1], cell_y)
    for cell_x in range(len(values)):
        x, of_cell = _corners(width, first[2], step[2], cell_x), values[cell_x]
        of_cell[0], of_cell[1] = children[z[0], y[0], x[0]], children[z[0], y[0], x[1]]
        of_cell[2], of_cell[3] = children[z[0], y[1], x[0]], children[z[0], y[1], x[1]]
        of_cell[4], of_cell[5] = children[z[1], y[0], x[0]], children[z[1], y[0], x[1]]
        of_cell[6], of_cell[7] = children[z[1], y[1], x[0]], children[z[1], y[1], x[1]]


@njit
def _modes(children: Any, first: Any, step: Any, result: Any) -> None:
    row = np.empty((result.shape[2], 8), children.dtype)
    for cell_z, cell_y in np.ndindex(result.shape[:2]):
        _row(children, first, step, cell_z, cell_y, row)
        for cell_x in range(len(row)):
            result[cell_z, cell_y, cell_x] = _mode(row[cell_x])


@njit
def _mode(values: Any) -> Any:
    """The mode of values (8,)."""
    different = values[0] ^ values[1] | values[0] ^ values[2] | values[0] ^ values[3]
    different |= values[0] ^ values[4] | values[0] ^ values[5] | values[0] ^ values[6]
    if different | values[0] ^ values[7] == 0:
        return values[0]
    value, most = values[0], 0
    for candidate in values:
        count = 0
        for other in values:
            count += other == candidate
        if count > most or (count == most and value == 0):
            most, value = count, candidate
    return value


@njit
def _integer_means(children: Any, first: Any, step: Any, result: Any) -> None:
    row = np.empty((result.shape[2], 8), np.int64)
    for cell_z, cell_y in np.ndindex(result.shape[:2]):
        _row(children, first, step, cell_z, cell_y, row)
        for cell_x in range(len(row)):
            result[cell_z, cell_y, cell_x] = _integer_mean(row[cell_x])


@njit
def _integer_mean(values: Any) -> Any:
    """The mean of values (8,). Quotients and remainders are summed apart, so that no sum overflows 64 bits."""
    quotient, remainder = np.int64(0), np.int64(0)
    for value in values:
        quotient += value >> 3
        remainder += value & 7
    quotient += remainder >> 3
    rest = remainder & 7
    if rest > 4 or (rest == 4 and quotient & 1):
        quotient += 1
    return quotient


@njit
def _float_means(children: Any, first: Any, step: Any, result: Any) -> None:
    row = np.empty((result.shape[2], 8), np.float64)
    for cell_z, cell_y in np.ndindex(result.shape[:2]):
        _row(children, first, step, cell_z, cell_y, row)
        for cell_x in range(len(row)):
            total = 0.0
            for value in row[cell_x]:
                total += value
            result[cell_z, cell_y, cell_x] = total / 8
