"""Whether two boxes hold the same voxels of the same data, also if one array is a copy or a crop of the other."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.training.volumes import LabelledBox

#: Shape of the cubes that are compared, and how many per axis, at fixed shares of the overlap.
CUBE, SHARES = (8, 32, 32), (0.0, 0.5, 1.0)


def shared_voxels(one: LabelledBox, other: LabelledBox) -> int:
    """How many voxels are labelled in both boxes, if they show the same data.

    Two boxes show the same data if their raw is one array, or if their raw is equal in the common part of both: at the
    same voxels of arrays of one size, or at the same place in nm.
    """
    return max((_shared(one, other, move, same) for move, same in _moves(one, other)), default=0)


def _moves(one: LabelledBox, other: LabelledBox) -> Iterator[tuple[Vector, bool]]:
    """Voxels from the first array's voxel 0 to the other's, and whether the arrays are known to be the same."""
    paths = [os.path.realpath(box.entry.raw) if "://" not in box.entry.raw else box.entry.raw for box in (one, other)]
    yield (0, 0, 0), paths[0] == paths[1]
    if one.frame is None or other.frame is None:
        return
    if not np.allclose(one.frame.voxel_size, other.frame.voxel_size, rtol=1e-3):
        return
    steps = np.subtract(other.frame.offset, one.frame.offset) / np.asarray(one.frame.voxel_size)
    if steps.any() and np.allclose(steps, np.rint(steps), atol=1e-2):
        yield vector([int(s) for s in np.rint(steps)]), False


def _shared(one: LabelledBox, other: LabelledBox, move: Vector, same: bool) -> int:
    """See `shared_voxels`, for one move of the other array."""
    begin = vector([b + m for b, m in zip(other.entry.begin, move, strict=True)])
    theirs = Box(begin, vector([b + n for b, n in zip(begin, other.raw.shape, strict=True)]))
    ours = Box(one.entry.begin, vector([b + n for b, n in zip(one.entry.begin, one.raw.shape, strict=True)]))
    common = ours.intersect(theirs)
    if not common or not (same or _equal(one, other, common, begin)):
        return 0
    labelled = (one.labels[common.slices(ours.begin)] > 0) & (other.labels[common.slices(begin)] > 0)
    return int(labelled.sum())


def _equal(one: LabelledBox, other: LabelledBox, common: Box, begin: Vector) -> bool:
    """Whether raw is equal, up to brightness and contrast of a whole volume, on cubes in the common part."""
    ours, theirs = one.raw[common.slices(one.entry.begin)], other.raw[common.slices(begin)]
    cube = [min(n, c) for n, c in zip(ours.shape, CUBE, strict=True)]
    alike = []
    for share in SHARES:
        begins = [round(share * (n - c)) for n, c in zip(ours.shape, cube, strict=True)]
        part = tuple(slice(b, b + c) for b, c in zip(begins, cube, strict=True))
        a, b = ours[part].ravel(), theirs[part].ravel()
        if a.std() == 0 or b.std() == 0:
            continue
        alike.append(float(np.corrcoef(a, b)[0, 1]) > 0.999)
    return bool(alike) and all(alike)
