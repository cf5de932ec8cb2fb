"""Faces between blocks, and what is measured in a slab of voxels around one.

A plane between two layers of voxels is either the face between two blocks or lies in the interior of one. A slab holds
one plane in its middle. The jump of affinities at a face is compared with the interior planes of the same slab, so
tissue and staining are the same on both sides of the comparison. Splits and mergers are compared with planes half a
block away: next to a face, segments are shaped by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, vector
from fgnet_pipeline.views.report.result import Result, TaskState

#: Layers of a slab on each side of its face, and voxels of its other two sides, at most.
REACH, WIDTH = 8, 128
#: Layers of a slab on each side of a plane inside a block, and how far this plane lies from every face at least.
AROUND = 3
#: Faces per axis and grid that are measured at most. They are spread evenly over all faces.
FACES = 96
#: Affinities from here on say that two voxels belong to one object.
TOGETHER = 128


@dataclass(frozen=True)
class Plane:
    """A face between two blocks, or a plane inside a block.

    Attributes:
        axis: 0, 1, 2 for z, y, x; the plane is perpendicular to it.
        at: the layer of voxels behind it; the layer `at - 1` is before it.
        slab: voxels around it.
    """

    axis: int
    at: int
    slab: Box


@dataclass(frozen=True)
class Measured:
    """Measurements of the planes of a slab; the first plane is between its layers 0 and 1.

    Attributes:
        middle: the face, or the plane inside a block.
        planes: place of each plane, counted from the middle; 0 is the middle.
        interior: which planes lie inside blocks of all grids, not next to a face either.
        jump: float64 (n,), mean absolute difference of the affinities of facing voxels, in [0, 1].
        inside: int64 (n,), facing voxels that both lie inside objects.
        split: int64 (n,), of them in two segments.
        apart: int64 (n,), facing voxels that the affinities take apart.
        merged: int64 (n,), of them in one segment.
        jump_at: position of the jump of the middle in voxels, zyx.
        split_at: position of the split voxels of the middle; NaN if there are none.
        merged_at: position of the merged voxels of the middle; NaN if there are none.
    """

    middle: Plane
    planes: npt.NDArray[np.int64]
    interior: npt.NDArray[np.bool_]
    jump: npt.NDArray[np.float64]
    inside: npt.NDArray[np.int64]
    split: npt.NDArray[np.int64]
    apart: npt.NDArray[np.int64]
    merged: npt.NDArray[np.int64]
    jump_at: tuple[float, float, float]
    split_at: tuple[float, float, float]
    merged_at: tuple[float, float, float]

    @property
    def at(self) -> int:
        """The index of the middle plane in `planes`."""
        return int(np.flatnonzero(self.planes == 0)[0])


@dataclass(frozen=True)
class Grids:
    """The grids of one result, and the tasks whose blocks must be done where something is measured.

    Attributes:
        result: the result.
        states: of the tasks that made the arrays.
        grids: of all blocks on which affinities or fragments may depend.
    """

    result: Result
    states: list[TaskState]
    grids: list[Grid]

    def distance(self, axis: int, at: int) -> int:
        """Layers between a plane and the nearest face of any grid."""
        sizes = [grid.block_shape[axis] for grid in self.grids]
        return min(min(at % size, -at % size) for size in sizes)

    def plane(self, block: Box, axis: int, at: int, reach: int) -> Plane | None:
        """A plane and the slab around it; None if the region is too thin there, or blocks are not done.

        Args:
            block: the slab is not wider than this.
            axis: perpendicular to the plane.
            at: the layer of voxels behind the plane.
            reach: layers on each side of it, if the region has so many.
        """
        roi = self.result.roi
        begin, end = list(block.begin), list(block.end)
        for other in range(3):
            if other != axis:
                spare = max(0, end[other] - begin[other] - WIDTH) // 2
                begin[other], end[other] = begin[other] + spare, min(end[other] - spare, begin[other] + spare + WIDTH)
        begin[axis], end[axis] = max(at - reach, roi.begin[axis]), min(at + reach, roi.end[axis])
        slab = Box(vector(begin), vector(end))
        is_thin = at - begin[axis] < AROUND or end[axis] - at < AROUND or not slab
        return None if is_thin or not all(_is_done(state, slab) for state in self.states) else Plane(axis, at, slab)


def faces_of(where: Grids, grid: Grid, axis: int) -> Iterator[tuple[Plane, list[Plane]]]:
    """Faces between blocks that are done, spread evenly, at most `FACES`, each with planes half a block away.

    Args:
        where: the result.
        grid: of which faces are wanted.
        axis: perpendicular to the faces.

    Yields:
        A face, and the planes inside the blocks behind and before it that no earlier face came with.
    """
    blocks = grid.covering(where.result.roi)
    step = np.eye(3, dtype=int)[axis]
    behind = Box(vector(np.add(blocks.begin, step)), blocks.end)
    seen: set[Vector] = set()
    chosen = 0
    for place in _spread(behind.size):
        index = vector(np.add(np.unravel_index(place, behind.shape), behind.begin))
        block, at = grid.box(index).intersect(where.result.roi), grid.box(index).begin[axis]
        face = where.plane(block, axis, at, min(REACH, grid.block_shape[axis] // 2))
        if face is not None:
            near = [i for i in (index, vector(np.subtract(index, step))) if i not in seen]
            seen.update(near)
            yield face, [plane for i in near if (plane := _inside(where, grid, axis, i)) is not None]
            chosen += 1
            if chosen == FACES:
                return


def _inside(where: Grids, grid: Grid, axis: int, index: Vector) -> Plane | None:
    """The plane in the middle of a block, or as near to it as no face of another grid is; None if there is none."""
    block = grid.box(index)
    size = block.shape[axis]
    for shift in sorted(range(-(size // 2), size // 2), key=abs):
        at = block.begin[axis] + size // 2 + shift
        if where.distance(axis, at) >= AROUND:
            return where.plane(block.intersect(where.result.roi), axis, at, AROUND)
    return None


def _spread(count: int) -> Iterator[int]:
    """Indices below `count`, at most `4 * FACES`: first `FACES` that are evenly spread, then others between them."""
    seen: set[int] = set()
    for parts in (FACES, 4 * FACES):
        for i in range(min(parts, count)):
            place = (2 * i + 1) * count // (2 * min(parts, count))
            if place not in seen:
                seen.add(place)
                yield place


def _is_done(state: TaskState, slab: Box) -> bool:
    blocks = state.grid.covering(slab)
    return all(state.is_done(vector(np.add(blocks.begin, at))) for at in np.ndindex(*blocks.shape))


def measure(where: Grids, plane: Plane) -> Measured | None:
    """Measure all planes of a slab; None if arrays cannot be read.

    - jump: the mean absolute difference of the affinities (all channels) of facing voxels.
    - inside: both neighbours of the plane, one voxel before and one behind, are joined to the voxels at the plane by
      affinities of at least `TOGETHER`. So the plane is inside an object, whatever its own affinity is.
    - apart: the affinity across the plane is below `TOGETHER`.

    Only facing voxels that both have a segment count, for the jump as well.
    """
    result, slab, axis = where.result, plane.slab, plane.axis
    affinities, segments = result.read("affinities", slab), result.read("segmentation", slab)
    if affinities is None or segments is None:
        return None
    values = np.moveaxis(affinities, axis + 1, 1).astype(np.int16)  # (C, layers, ., .)
    ids, across = np.moveaxis(segments, axis, 0), values[axis]
    known = (ids[1:] > 0) & (ids[:-1] > 0)
    differ = np.abs(values[:, 1:] - values[:, :-1]).mean(axis=0) / 255
    joined = across >= TOGETHER
    inside = np.zeros(known.shape, bool)
    inside[1:-1] = known[1:-1] & joined[1:-2] & joined[3:]
    apart = known & ~joined[1:]
    split, merged = inside & (ids[1:] != ids[:-1]), apart & (ids[1:] == ids[:-1])
    layers = np.arange(1, len(ids)) + slab.begin[axis]
    planes, interior = layers - plane.at, np.array([where.distance(axis, int(at)) >= 2 for at in layers])
    middle = int(np.flatnonzero(planes == 0)[0])
    weight = np.where(known[middle], differ[middle], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        jump = np.where(known, differ, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    counts = [flags.sum(axis=(1, 2)) for flags in (inside, split, apart, merged)]
    return Measured(
        plane, planes, interior, jump, counts[0], counts[1], counts[2], counts[3],
        _centre(plane, weight), _centre(plane, split[middle]), _centre(plane, merged[middle]),
    )  # fmt: skip


def _centre(plane: Plane, weight: npt.NDArray[np.generic]) -> tuple[float, float, float]:
    """Weighted centre of voxels of the layer behind a plane; between both layers, at `at - 0.5`; NaN without weight."""
    values = weight.astype(np.float64)
    total = values.sum()
    if total == 0:
        return (np.nan, np.nan, np.nan)
    rest = [axis for axis in range(3) if axis != plane.axis]
    position = [0.0, 0.0, 0.0]
    position[plane.axis] = plane.at - 0.5
    for place, axis in enumerate(rest):
        along = values.sum(axis=1 - place)
        position[axis] = plane.slab.begin[axis] + float(along @ np.arange(len(along)) / total)
    return (position[0], position[1], position[2])
