"""Counting a contingency table block by block, so that neither array has to fit in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency

_DEFAULT_BLOCK = (128, 128, 128)
#: Rows that wait before they are merged, however short the table is.
_FEW_ROWS = 1 << 16
#: Voxels of the largest block that follows the array's chunks.
_LARGEST_BLOCK = 1 << 25


class ArrayLike(Protocol):
    """The members of an array that are used here; numpy and Zarr arrays have them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def moved(box: Box, by: npt.ArrayLike) -> Box:
    """`box` shifted by voxels, zyx."""
    return Box(vector(np.add(box.begin, by)), vector(np.add(box.end, by)))


def lattice(region: Box, shape: Vector, anchor: npt.ArrayLike) -> Iterator[Box]:
    """The blocks of a lattice that cover `region`, cut off at it, in C order.

    Args:
        region: box in voxels.
        shape: of a block in voxels, zyx.
        anchor: voxel at which a block of the lattice begins, zyx.
    """
    grid, relative = Grid(shape), moved(region, np.negative(anchor))
    for index in indices(grid.covering(relative)):
        yield moved(grid.box(index).intersect(relative), anchor)


def default_block(array: ArrayLike) -> Vector:
    """About 128 voxels along each axis, in whole shards or chunks if the array has them."""
    stored = getattr(array, "shards", None) or getattr(array, "chunks", None)
    if not isinstance(stored, tuple) or len(stored) != 3:
        return _DEFAULT_BLOCK
    block = vector([max(1, round(128 / size)) * size for size in stored])
    return block if math.prod(block) <= _LARGEST_BLOCK else _DEFAULT_BLOCK


def summed(count: Callable[[Box], Contingency], blocks: Iterable[Box], workers: int) -> Contingency:
    """The sum of the tables that `count` gives for `blocks`, computed by as many threads as `workers`."""
    total = _Total()
    for table in _in_order(count, blocks, workers):
        total.add(table)
    return total.table()


@dataclass
class _Total:
    """The sum of tables. New tables are merged in groups as long as the sum, so that rows are seldom sorted."""

    total: Contingency = field(default_factory=kernel.empty)
    waiting: list[Contingency] = field(default_factory=list)

    def add(self, table: Contingency) -> None:
        self.waiting.append(table)
        if sum(map(len, self.waiting)) > max(len(self.total), _FEW_ROWS):
            self.table()

    def table(self) -> Contingency:
        self.total = kernel.merge([self.total, *self.waiting])
        self.waiting.clear()
        return self.total


def _in_order(count: Callable[[Box], Contingency], blocks: Iterable[Box], workers: int) -> Iterator[Contingency]:
    """The tables of the blocks; at most two blocks per worker are under way."""
    if workers == 1:
        yield from map(count, blocks)
        return
    with ThreadPoolExecutor(workers) as pool:
        under_way: list[Future[Contingency]] = []
        for box in blocks:
            under_way.append(pool.submit(count, box))
            if len(under_way) >= 2 * workers:
                yield under_way.pop(0).result()
        yield from (future.result() for future in under_way)
