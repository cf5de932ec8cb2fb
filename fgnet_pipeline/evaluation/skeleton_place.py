"""Refuses skeletons that lie elsewhere than the segmentation, or whose positions are in another unit.

SWC files state no unit, so a wrong one is the usual mistake. Positions in micrometres that are read as nm may still lie
inside the volume, all in its first voxel. So the place alone does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.evaluation.skeleton_files import FIELD, Skeleton
from fgnet_pipeline.store.frame import Frame

Floats = npt.NDArray[np.float64]
#: If less of all nodes lies inside the volume, the skeletons are in another unit or place.
LEAST_INSIDE = 0.5
_UM = "micrometres, not nm: give --skeleton-unit um, or correct the transform of precomputed skeletons"
_NM = "nm, not micrometres: give --skeleton-unit nm, or correct the comment on units in the files"
_VOXELS = "voxels: multiply them by the voxel size and add the offset"
_ORDER = "in the order z, y, x: write x first"


@dataclass(frozen=True)
class Place:
    """Where a volume lies.

    Attributes:
        frame: voxel size and offset.
        shape: voxels, zyx.
    """

    frame: Frame
    shape: Vector

    def voxels(self, nodes: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The voxel (n, 3), zyx, of positions in nm (n, 3), and whether it lies in the volume (n,)."""
        exact = np.floor((nodes - self.frame.offset) / self.frame.voxel_size)
        along = (exact >= 0) & (exact < self.shape)
        inside = along[:, 0] & along[:, 1] & along[:, 2]
        return np.clip(exact, -1, self.shape).astype(np.int64), inside

    def holds(self, nodes: Floats) -> bool:
        """Whether enough of the positions in nm (n, 3) lie in the volume."""
        return bool(self.voxels(nodes)[1].mean() >= LEAST_INSIDE)


def check_place(source: str, skeletons: Sequence[Skeleton], place: Place) -> None:
    """Check that skeletons lie in a volume.

    Args:
        source: the folder that they were read from, for errors.
        skeletons: positions in nm.
        place: of the segmentation.

    Raises:
        InputError: no nodes, too many of them outside, or edges and positions that fit another unit only.
    """
    nodes = np.concatenate([skeleton.nodes for skeleton in skeletons])
    if not len(nodes):
        raise InputError(FIELD, source, "at least one node", "take other skeletons")
    hint = _hint(nodes, skeletons, place)
    if place.holds(nodes) and hint is None:
        return
    low, high = nodes.min(0).round(1).tolist(), nodes.max(0).round(1).tolist()
    begin = np.asarray(place.frame.offset)
    end = (begin + np.multiply(place.shape, place.frame.voxel_size)).round(1).tolist()
    raise InputError(
        FIELD,
        f"{source} from {low} to {high} nm (z, y, x)",
        f"positions in nm, and at least half of all nodes inside the segmentation, {begin.tolist()} to {end} nm",
        "take skeletons of this volume" if hint is None else f"the positions seem to be {hint}",
    )


def _hint(nodes: Floats, skeletons: Sequence[Skeleton], place: Place) -> str | None:
    """What the positions seem to be, if they are not in nm; None if nothing else fits better."""
    size = np.asarray(place.frame.voxel_size)
    in_voxels = (nodes + 0.5) * size + np.asarray(place.frame.offset)
    lengths = np.concatenate([skeleton.lengths for skeleton in skeletons])
    lengths = lengths[lengths > 0]
    step = float(np.median(lengths)) if len(lengths) else 0.0
    if place.holds(nodes):
        # No skeleton in nm has shorter edges than a voxel and lies at the very begin of the volume.
        if step < size.min() and place.holds(nodes * 1000):
            return _UM
        return _VOXELS if 0 < step < size.min() / 2 and place.holds(in_voxels) else None
    # A thousandth of every position lies at the begin of the volume, so edges must be as long as in nm.
    fits = [(_UM, nodes * 1000), (_ORDER, nodes[:, ::-1]), (_VOXELS, in_voxels)]
    fits += [(_NM, nodes / 1000)] if step >= 500 * size.min() else []
    return next((hint for hint, moved in fits if place.holds(moved)), None)
