"""The levels of a pyramid: which axes each level halves, and where its voxels lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.kernels.downsample import cells_of
from fgnet_pipeline.store.frame import Frame, size_of

#: Levels are added until no axis is longer than this, in voxels.
LONGEST = 64


@dataclass(frozen=True)
class Level:
    """One level of a pyramid. Level 0 has the voxels of the result.

    Attributes:
        number: 0, 1, 2, ...
        factor: voxels of level 0 in a voxel of this level along each axis, zyx, powers of two.
        step: voxels of the level below in a voxel of this level along each axis, zyx, each 1 or 2.
        shape: of the whole volume in voxels of this level, zyx, rounded up.
    """

    number: int
    factor: Vector
    step: Vector
    shape: Vector

    def cells(self, box: Box) -> Box:
        """The voxels of this level that hold a voxel of `box`, which is in voxels of level 0."""
        return cells_of(box, self.factor)

    def frame(self, frame: Frame) -> Frame:
        """Voxel size and offset of this level. All levels have one corner.

        Args:
            frame: of level 0.
        """
        return Frame(size_of(np.multiply(frame.voxel_size, self.factor)), frame.offset)


def levels_of(shape: Vector, frame: Frame, asked: int | None) -> list[Level]:
    """The levels of a pyramid over a volume.

    An axis is halved if it has more than one voxel, and if its voxel size is less than twice the smallest. So voxels
    become as isotropic as they can before all axes are halved.

    Args:
        shape: of the volume, voxels, zyx.
        frame: of the volume.
        asked: the number of levels; None: until no axis is longer than `LONGEST`.

    Raises:
        InputError: so many levels that the last would be no coarser than the one below.
    """
    levels = [Level(0, (1, 1, 1), (1, 1, 1), shape)]
    while max(levels[-1].shape) > LONGEST if asked is None else len(levels) < asked:
        below = levels[-1]
        sizes = np.multiply(frame.voxel_size, below.factor)
        longer = np.asarray(below.shape) > 1
        if not longer.any():
            expected = f"at most {len(levels)} levels for a volume of {list(shape)} voxels"
            raise InputError("--levels", asked, expected, "choose a smaller number, or leave it out")
        step = vector(np.where(longer & (sizes < 2 * sizes[longer].min()), 2, 1))
        cells = vector(-np.floor_divide(np.negative(below.shape), step))
        levels.append(Level(below.number + 1, vector(np.multiply(below.factor, step)), step, cells))
    return levels
