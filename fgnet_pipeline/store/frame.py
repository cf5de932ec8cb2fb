"""The place of a volume in the world, and how the grids of two volumes lie to each other.

Our `offset` is the corner of voxel 0. A translation of OME-Zarr (and of COSEM's `transform`) is the centre of voxel 0
(https://ngff.openmicroscopy.org, "the pixel center is the origin"). Volumes of both kinds meet by two rules:

1. The corner of voxel 0 of the finest level of a pyramid has the translation that this level states. So a full
   resolution volume has the same offset, whether our attributes or OME-Zarr state it. This shifts the world of a
   pyramid by half a voxel of its finest level.
2. If two worlds that are shifted by different amounts meet, one is moved to the other (`Frame.seen_from`).

Writers that average blocks but state no translation, or the same one at every level, mean levels with one corner
(github.com/ome/ome-zarr-py/issues/403). Pyramids of that kind are read so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector

#: Nanometres along z, y and x.
Size = tuple[float, float, float]

#: Voxels by which two grids may be off and still count as one grid.
SAME_PLACE = 0.01


@dataclass(frozen=True)
class Pyramid:
    """The finest level of the pyramid that a volume is a level of.

    Attributes:
        voxel_size: nm, zyx, of the finest level.
        translation: nm, zyx, that the finest level states.
        centred: whether the translations place the centres of voxels. If not, all levels have one corner.
    """

    voxel_size: Size
    translation: Size
    centred: bool


@dataclass(frozen=True)
class Frame:
    """The place of a volume in the world.

    Attributes:
        voxel_size: nm, zyx.
        offset: position in nm, zyx, of the corner of voxel 0.
        pyramid: the pyramid whose metadata state the offset; None if the volume's own attributes do.
    """

    voxel_size: Size
    offset: Size
    pyramid: Pyramid | None = field(default=None, compare=False)

    def is_close(self, other: Frame) -> bool:
        """Whether both frames agree: offsets within a hundredth of a voxel, sizes within a thousandth."""
        shift = np.abs(np.subtract(self.offset, other.offset)) / self.voxel_size
        return bool(np.allclose(self.voxel_size, other.voxel_size, rtol=1e-3) and (shift < SAME_PLACE).all())

    def has_voxels_of(self, other: Frame, shape: Vector) -> bool:
        """Whether the voxels of both frames have one size, over the whole extent of an array.

        The sizes may differ by what our arrays round (10/3 nm is stored as 3333 pm), or by so little that the last
        voxel of the array is less than a hundredth of a voxel off.

        Args:
            other: another frame.
            shape: of the array, voxels, zyx.
        """
        difference = np.abs(np.subtract(self.voxel_size, other.voxel_size))
        drift = difference * np.asarray(shape) / self.voxel_size
        is_rounding = difference <= rounding(self.voxel_size) + rounding(other.voxel_size)
        return bool((is_rounding | (drift <= SAME_PLACE)).all())

    def seen_from(self, other: Frame) -> Frame:
        """This frame in the world of another one (rule 2 of this module).

        A frame of our own attributes is never moved: its offset is a corner in every world.
        """
        if self.pyramid is None or not self.pyramid.centred:
            return self
        own = np.asarray(self.pyramid.voxel_size)
        if other.pyramid is None:
            finest, translation = np.minimum(own, other.voxel_size), other.offset
        else:
            finest, translation = np.asarray(other.pyramid.voxel_size), other.pyramid.translation
        apart = np.abs(np.subtract(self.pyramid.translation, translation))
        if (apart < SAME_PLACE * finest).all():
            return self
        return replace(self, offset=size_of(np.asarray(self.offset) + (finest - own) / 2))

    def voxels_to(self, other: Frame) -> npt.NDArray[np.float64]:
        """How many voxels behind voxel 0 of this frame the voxel 0 of `other` lies, zyx; voxels of one size.

        If one of the two sizes is a rounded one, the other is used, since its error grows with the distance.
        """
        moved = other.seen_from(self)
        better = rounding(other.voxel_size) < rounding(self.voxel_size)
        return np.subtract(moved.offset, self.offset) / np.where(better, other.voxel_size, self.voxel_size)

    def attributes(self, channels: bool = False) -> dict[str, Any]:
        """The attributes that our arrays carry, and that `funlib.persistence.open_ds` can read.

        That function silently truncates fractions (4.5 to 4). Therefore sizes that are not whole nanometres are stated
        in a finer unit.

        Args:
            channels: the array is (C, z, y, x); `^` marks an axis that is not space.
        """
        unit, scale = next(
            (u, s) for u, s in (("nm", 1), ("angstrom", 10), ("pm", 1000)) if u == "pm" or self._is_whole(s)
        )
        return {
            "voxel_size": [round(v * scale) for v in self.voxel_size],
            "offset": [round(v * scale) for v in self.offset],
            "axis_names": [*(["c^"] if channels else []), "z", "y", "x"],
            "units": [unit] * 3,
            "dimension_units": [*([None] if channels else []), *(f"{size:.12g} nm" for size in self.voxel_size)],
        }

    def _is_whole(self, scale: int) -> bool:
        numbers = np.multiply([*self.voxel_size, *self.offset], scale)
        return bool(np.allclose(numbers, np.rint(numbers), atol=1e-6, rtol=0))


def rounding(size: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """By how many nm each of some voxel sizes may be off, because our arrays store whole picometres.

    `Frame.attributes` rounds only what is not a whole number of tenths of a nanometre. A size that is no whole number
    of picometres was not rounded.
    """
    sizes = np.asarray(size, dtype=np.float64)
    picometres, tenths = sizes * 1000, sizes * 10
    is_rounded = (np.abs(picometres - np.rint(picometres)) < 1e-6) & (np.abs(tenths - np.rint(tenths)) > 1e-6)
    return np.where(is_rounded, np.minimum(0.00051, 0.01 * sizes), 0.0)


def size_of(values: npt.ArrayLike) -> Size:
    """Three numbers as a tuple of floats."""
    z, y, x = (float(v) for v in np.asarray(values, dtype=np.float64))
    return z, y, x
