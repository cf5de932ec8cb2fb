"""Which voxels of a stored segmentation were computed, by the records of the output that holds it.

Elsewhere the array is 0, which says nothing about the method: such voxels are left out of scores. A segmentation that
lies in no output of this program was computed everywhere, as far as anyone knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.stages.job import region_of_interest
from fgnet_pipeline.stages.registry import stages
from fgnet_pipeline.store.output import stored_output
from fgnet_pipeline.store.records.results import latest_reads
from fgnet_pipeline.store.tissue_mask import Mask
from fgnet_pipeline.store.volume import Frame, Volume, open_volume

#: Why a voxel was not computed, by its code in `Computed.reasons`. 0 is a voxel that was computed.
REASONS = ("", "outside volume.roi", "outside volume.mask", "in blocks that are not done")
OUTSIDE_ROI, OUTSIDE_MASK, UNFINISHED = 1, 2, 3


@dataclass(frozen=True)
class Computed:
    """The computed voxels of an array.

    Attributes:
        roi: the region of interest, in voxels.
        mask: the tissue mask; None if everything is tissue.
        grid: the blocks of the array; None if all blocks are done.
        done: index of a block -> the voxels that it has written; None if all blocks are done.
    """

    roi: Box
    mask: Mask | None = None
    grid: Grid | None = None
    done: Mapping[Vector, Box] | None = field(default=None, repr=False)

    def reasons(self, box: Box) -> npt.NDArray[np.uint8] | None:
        """Why the voxels of a box were not computed.

        Args:
            box: voxels.

        Returns:
            uint8 (z, y, x), a place in `REASONS`; None if all of them were computed.
        """
        inside = box.intersect(self.roi)
        if inside == box and self.mask is None and self.done is None:
            return None
        found = np.full(box.shape, OUTSIDE_ROI, np.uint8)
        if inside:
            place = inside.slices(box.begin)
            found[place] = self._unfinished(inside)
            if self.mask is not None:
                found[place] = np.where(self.mask.read(inside), found[place], np.uint8(OUTSIDE_MASK))
        return found if found.any() else None

    def _unfinished(self, box: Box) -> npt.NDArray[np.uint8]:
        """`UNFINISHED` at the voxels of `box` that no block has written, else 0."""
        if self.done is None or self.grid is None:
            return np.zeros(box.shape, np.uint8)
        found = np.full(box.shape, UNFINISHED, np.uint8)
        for index in indices(self.grid.covering(box)):
            written = self.done.get(index)
            part = written.intersect(box) if written is not None else None
            if part:
                found[part.slices(box.begin)] = 0
        return found


def computed_part(path: str, volume: Volume) -> Computed | None:
    """The computed voxels of a stored array.

    Args:
        path: of the array. If it is one of an output of this program, the records of the output are read.
        volume: the same, opened.

    Returns:
        None if the array belongs to no output whose records are here.

    Raises:
        InputError: no block of the array is done, or the tissue mask of the run cannot be opened.
    """
    parent, _, name = (path if is_url(path) else str(Path(path).resolve())).rstrip("/").rpartition("/")
    stage = next((s for s in stages().values() if s.array is not None and s.array.name == name), None)
    output = stored_output(parent) if stage is not None else None
    if stage is None or output is None:
        return None
    fingerprint = output.progress.fingerprint(stage.name)
    if fingerprint is None:
        return None
    grid = Grid(vector(fingerprint["block_shape"]))
    reads = latest_reads(output.progress, stage.name)
    done = {block: grid.box(block).intersect(read) for block, read in reads.items()}
    if not done:
        expected = "at least one block that is done"
        raise InputError("SEGMENTATION", path, expected, "run fgnet run with its configuration first")
    tables = output.saved_configuration()[0].get("volume", {})
    if volume.frame is None:
        return Computed(volume.bounds, None, grid, done)
    roi = output.saved_region() or region_of_interest(tables.get("roi"), volume.frame, volume.bounds)
    return Computed(roi, _mask(tables, volume.frame), grid, done)


def _mask(tables: Mapping[str, Any], frame: Frame) -> Mask | None:
    """The tissue mask of the latest run."""
    path = tables.get("mask")
    if path is None:
        return None
    try:
        return Mask(open_volume(path, "volume.mask"), frame)
    except InputError as error:
        expected = f"the mask of the run, to know which voxels were computed ({error.expected})"
        raise InputError("volume.mask", path, expected, "put it back, or score a copy of the segmentation") from error
