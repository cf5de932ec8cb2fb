"""Overlapping tiles on a lattice anchored at voxel 0, blended with Gaussian weights.

The tiles that cover a voxel, their weights and the order in which they are added depend on the voxel alone. So the
block grid does not change a bit of the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, vector

#: Standard deviation of the blending weights on a radial grid over [-1, 1] (the value of the authors' code).
SIGMA = 0.2
Predict = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Tiling:
    """Tile `k` owns the core `[k * stride, (k + 1) * stride)` and yields it with an equal overlap on both sides.

    Args:
        tile: input shape of the network, zyx voxels.
        stride: distance of neighbouring tiles.
        margin: voxels cropped off every face of what the network returns.
    """

    tile: Vector
    stride: Vector
    margin: Vector

    @cached_property
    def output(self) -> Vector:
        return vector(np.subtract(self.tile, np.multiply(2, self.margin)))

    @property
    def context(self) -> Vector:
        """How far from a voxel the tiles that cover it read, in voxels zyx."""
        return vector(np.add(np.subtract(self.output, 1), self.margin))

    def counts(self, grid: Grid, roi: Box, volume: Box) -> tuple[int, int]:
        """Count the tiles that all blocks compute, and the tiles that there are.

        Args:
            grid: of the blocks.
            roi: the region of interest in voxels.
            volume: extent of the volume.

        Returns:
            (tiles of every block added up, tiles of the region of interest).
        """
        blocks = grid.covering(roi)
        computed, needed = 1, 1
        for axis in range(3):
            parts = [grid.box(vector([i] * 3)).intersect(roi) for i in range(blocks.begin[axis], blocks.end[axis])]
            computed *= sum(self._count_along(axis, part, volume) for part in parts)
            needed *= self._count_along(axis, roi, volume)
        return computed, needed

    def _count_along(self, axis: int, box: Box, volume: Box) -> int:
        begin, end = [0, 0, 0], [1, 1, 1]
        begin[axis], end[axis] = box.begin[axis], box.end[axis]
        return len({tile.begin[axis] for tile in self.tiles(Box(vector(begin), vector(end)), volume)})

    def tiles(self, box: Box, volume: Box) -> Iterator[Box]:
        """The boxes that tiles yield, for all tiles that touch a box, in lattice order, z fastest.

        Tiles whose core is outside the volume are left out: every voxel is in the core of another tile. With z fastest,
        the tiles that share sections follow one another, so that a network keeps the guides of one tile only.

        Args:
            box: voxels of the volume.
            volume: extent of the volume.

        Yields:
            Boxes in voxels, which may reach beyond the volume.
        """
        ranges = []
        for axis, (stride, output) in enumerate(zip(self.stride, self.output, strict=True)):
            shift = (output - stride) // 2
            first = max(0, (box.begin[axis] + shift - output) // stride + 1)
            last = min((volume.end[axis] - 1) // stride, (box.end[axis] + shift - 1) // stride)
            ranges.append([k * stride - shift for k in range(first, last + 1)])
        for y, x, z in itertools.product(ranges[1], ranges[2], ranges[0]):
            yield Box((z, y, x), vector(np.add((z, y, x), self.output)))

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """Blending weights (output shape), a Gaussian of the distance to the centre of the tile; above 0."""
        axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in self.output]
        square = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
        return np.maximum(np.exp(-np.asarray(square) / (2 * SIGMA**2)), 1e-6).astype(np.float32)

    def reads(self, box: Box, volume: Box) -> Box:
        """The part of the volume that predicting `box` needs, reflection at the volume's faces included."""
        inputs = self._inputs(box, volume)
        sources = [reflect(np.arange(b, e), n) for b, e, n in zip(inputs.begin, inputs.end, volume.end, strict=True)]
        return Box(vector([s.min() for s in sources]), vector([s.max() + 1 for s in sources]))

    def _inputs(self, box: Box, volume: Box) -> Box:
        inner = list(self.tiles(box, volume))
        begin = np.min([t.begin for t in inner], axis=0)
        end = np.max([t.end for t in inner], axis=0)
        return Box(vector(begin - self.margin), vector(end + self.margin))

    def predict(
        self,
        raw: npt.NDArray[Any],
        origin: Vector,
        volume: Box,
        box: Box,
        network: Predict,
        channels: int,
        batch: int = 1,
    ) -> npt.NDArray[np.float32]:
        """Blend the network's outputs over `box`.

        Args:
            raw: voxels (z, y, x) of at least `reads`, as `network` takes them; the first one is `origin`.
            volume: extent of the volume; tiles beyond it see it mirrored.
            box: what to predict, voxels.
            network: (B, \\*tile) of the dtype of `raw` -> (B, C, \\*output) float32 in [0, 1].
            channels: C.
            batch: tiles per call; the last call is filled up with copies, so that every call has the same shape.

        Returns:
            (C, \\*box.shape) float32 in [0, 1].
        """
        total = np.zeros((channels, *box.shape), np.float32)
        weight = np.zeros(box.shape, np.float32)
        tiles = list(self.tiles(box, volume))
        for first in range(0, len(tiles), batch):
            group = tiles[first : first + batch]
            inputs = [raw[self.sources(tile, origin, volume)] for tile in group]
            inputs += inputs[-1:] * (batch - len(group))
            outputs = network(np.stack(inputs))
            for tile, output in zip(group, outputs, strict=False):
                self._add(total, weight, box, tile, output)
        total /= weight
        return total

    def _add(
        self,
        total: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32],
        box: Box,
        tile: Box,
        output: npt.NDArray[np.float32],
    ) -> None:
        here, there = self.shared(tile, box)
        weights = self.weights[there]
        total[(slice(None), *here)] += output[(slice(None), *there)] * weights
        weight[here] += weights

    @staticmethod
    def shared(tile: Box, box: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """What a tile yields for `box`: (slices of an array over the box, slices of the tile's output)."""
        found = tile.intersect(box)
        return found.slices(box.begin), found.slices(tile.begin)

    def sources(self, tile: Box, origin: Vector, volume: Box) -> tuple[Any, ...]:
        """Where the voxels of a network's input lie in an array, mirrored at the faces of the volume.

        Args:
            tile: what the tile yields, one of `tiles`.
            origin: the voxel of the volume that is the first one of the array.
            volume: extent of the volume.

        Returns:
            Along each axis a slice if the input lies inside the volume, otherwise the positions as int64 (n,), of
            shapes that index an array together.
        """
        wanted = tile.grow(self.margin, self.margin)
        if volume.contains(wanted):
            return wanted.slices(origin)
        ends = zip(wanted.begin, wanted.end, volume.end, origin, strict=True)
        return np.ix_(*(reflect(np.arange(b, e), n) - o for b, e, n, o in ends))


def reflect(positions: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Mirror positions at the first and the last voxel of an axis, more than once if the axis is short.

    Args:
        positions: int64, any shape, voxels on the axis, possibly outside it.
        length: voxels of the axis.

    Returns:
        int64 of the same shape, in 0..length - 1.
    """
    if length == 1:
        return np.zeros_like(positions)
    period = 2 * (length - 1)
    folded = np.mod(positions, period)
    return np.minimum(folded, period - folded)


def to_uint8(affinities: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Scale affinities to bytes.

    Args:
        affinities: float32 of any shape, in [0, 1]; values outside are clipped, NaN counts as 0 (a boundary).

    Returns:
        uint8 of the same shape, 0..255, rounded to nearest.
    """
    scaled = np.nan_to_num(affinities, nan=0.0, posinf=1.0, neginf=0.0) * np.float32(255)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
