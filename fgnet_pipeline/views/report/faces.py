"""Faces between blocks, and what is measured in a slab of voxels around one.

A plane between two layers of voxels is either the face between two blocks or lies in the interior of one. A slab holds
one face in its middle and interior planes on both sides. The face is compared with the interior planes of the same
slab, so tissue and staining are the same on both sides of the comparison.
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
#: Faces per axis and grid that are measured at most. They are spread evenly over all faces.
FACES = 96
#: Affinities from here on say that two voxels belong to one object.
TOGETHER = 128


@dataclass(frozen=True)
class Face:
    """A face between two blocks.

    Attributes:
        axis: 0, 1, 2 for z, y, x; the face is perpendicular to it.
        at: the layer of voxels behind it; the layer `at - 1` is before it.
        slab: voxels around it.
    """

    axis: int
    at: int
    slab: Box


@dataclass(frozen=True)
class Measured:
    """What was measured of the planes of a slab; the first is between its layers 0 and 1.

    Attributes:
        face: in the middle.
        planes: place of each plane, counted from the face; 0 is the face.
        jump: float64 (n,), mean absolute difference of the affinities of facing voxels, in [0, 1].
        inside: int64 (n,), facing voxels that both lie inside objects.
        split: int64 (n,), of them in two segments.
        apart: int64 (n,), facing voxels that the affinities take apart.
        merged: int64 (n,), of them in one segment.
        jump_at: position of the face's jump in voxels, zyx.
        split_at: position of the split voxels of the face; NaN if there are none.
        merged_at: position of the merged voxels of the face; NaN if there are none.
    """

    face: Face
    planes: npt.NDArray[np.int64]
    jump: npt.NDArray[np.float64]
    inside: npt.NDArray[np.int64]
    split: npt.NDArray[np.int64]
    apart: npt.NDArray[np.int64]
    merged: npt.NDArray[np.int64]
    jump_at: tuple[float, float, float]
    split_at: tuple[float, float, float]
    merged_at: tuple[float, float, float]

    @property
    def interior(self) -> npt.NDArray[np.bool_]:
        """Which planes are compared with the face: not the face itself, nor the planes next to it."""
        return np.abs(self.planes) >= 2


def faces_of(result: Result, states: list[TaskState], grid: Grid, axis: int) -> Iterator[Face]:
    """Faces between blocks that are done, spread evenly, at most `FACES`.

    Args:
        result: the result.
        states: of the tasks that made the arrays; the blocks on both sides must be done in all of them.
        grid: of which faces are wanted.
        axis: perpendicular to the faces.
    """
    blocks = grid.covering(result.roi)
    behind = Box(vector(np.add(blocks.begin, np.eye(3, dtype=int)[axis])), blocks.end)
    chosen = 0
    for place in _spread(behind.size):
        index = vector(np.add(np.unravel_index(place, behind.shape), behind.begin))
        face = _face(result, grid, axis, index)
        if face is not None and all(_is_done(state, face.slab) for state in states):
            yield face
            chosen += 1
            if chosen == FACES:
                return


def _spread(count: int) -> Iterator[int]:
    """Places 0 to count - 1: first evenly spread ones, then those between; `4 * FACES` of them at most."""
    seen: set[int] = set()
    for parts in (FACES, 4 * FACES):
        for i in range(min(parts, count)):
            place = (2 * i + 1) * count // (2 * min(parts, count))
            if place not in seen:
                seen.add(place)
                yield place


def _face(result: Result, grid: Grid, axis: int, index: Vector) -> Face | None:
    """The face at the begin of a block; None if the region is too thin there."""
    block = grid.box(index).intersect(result.roi)
    at = grid.box(index).begin[axis]
    begin, end = list(block.begin), list(block.end)
    for other in range(3):
        if other != axis:
            spare = max(0, end[other] - begin[other] - WIDTH) // 2
            begin[other], end[other] = begin[other] + spare, min(end[other] - spare, begin[other] + spare + WIDTH)
    reach = min(REACH, grid.block_shape[axis] // 2)
    begin[axis], end[axis] = max(at - reach, result.roi.begin[axis]), min(at + reach, result.roi.end[axis])
    slab = Box(vector(begin), vector(end))
    return Face(axis, at, slab) if at - begin[axis] >= 3 and end[axis] - at >= 3 and slab else None


def _is_done(state: TaskState, slab: Box) -> bool:
    blocks = state.grid.covering(slab)
    return all(state.is_done(vector(np.add(blocks.begin, at))) for at in np.ndindex(*blocks.shape))


def measure(result: Result, face: Face) -> Measured | None:
    """Measure all planes of a slab; None if arrays cannot be read.

    - jump: the mean absolute difference of the affinities (all channels) of facing voxels.
    - inside: both neighbours of the plane, one voxel before and one behind, are joined to the voxels at the plane by
      affinities of at least `TOGETHER`. So the plane is inside an object, whatever its own affinity is.
    - apart: the affinity across the plane is below `TOGETHER`.

    Only facing voxels that both have a segment count, for the jump as well.
    """
    affinities, segments = result.read("affinities", face.slab), result.read("segmentation", face.slab)
    if affinities is None or segments is None:
        return None
    values = np.moveaxis(affinities, face.axis + 1, 1).astype(np.int16)  # (C, layers, ., .)
    ids, across = np.moveaxis(segments, face.axis, 0), values[face.axis]
    known = (ids[1:] > 0) & (ids[:-1] > 0)
    differ = np.abs(values[:, 1:] - values[:, :-1]).mean(axis=0) / 255
    joined = across >= TOGETHER
    inside = np.zeros(known.shape, bool)
    inside[1:-1] = known[1:-1] & joined[1:-2] & joined[3:]
    apart = known & ~joined[1:]
    split, merged = inside & (ids[1:] != ids[:-1]), apart & (ids[1:] == ids[:-1])
    planes = np.arange(1, len(ids)) + face.slab.begin[face.axis] - face.at
    middle = int(np.flatnonzero(planes == 0)[0])
    weight = np.where(known[middle], differ[middle], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        jump = np.where(known, differ, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    counts = [flags.sum(axis=(1, 2)) for flags in (inside, split, apart, merged)]
    return Measured(
        face, planes, jump, counts[0], counts[1], counts[2], counts[3],
        _centre(face, weight), _centre(face, split[middle]), _centre(face, merged[middle]),
    )  # fmt: skip


def _centre(face: Face, weight: npt.NDArray[np.generic]) -> tuple[float, float, float]:
    """Weighted centre of voxels of the layer behind a face; between both layers, at `at - 0.5`; NaN without weight."""
    values = weight.astype(np.float64)
    total = values.sum()
    if total == 0:
        return (np.nan, np.nan, np.nan)
    rest = [axis for axis in range(3) if axis != face.axis]
    position = [0.0, 0.0, 0.0]
    position[face.axis] = face.at - 0.5
    for place, axis in enumerate(rest):
        along = values.sum(axis=1 - place)
        position[axis] = face.slab.begin[axis] + float(along @ np.arange(len(along)) / total)
    return (position[0], position[1], position[2])
