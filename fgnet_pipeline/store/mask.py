"""The tissue mask: non-zero is tissue, at any coarser or equal resolution, placed by world position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..geometry import Box, Grid, vector
from ..hashing import Hashes, box_sums, of_grid
from .volume import Frame, Volume

#: Mask voxels that are held in memory at once when a whole grid is summarised.
SLAB_VOXELS = 1 << 26


@dataclass(frozen=True)
class Mask:
    """A mask volume seen from the voxels of a volume with ``frame``; outside its array there is no tissue."""

    volume: Volume
    frame: Frame

    def __post_init__(self) -> None:
        if self.volume.frame is None:
            raise InputError(
                "volume.mask", self.volume.path, "voxel_size and offset attributes", "add them to the mask array"
            )
        finer = np.asarray(self.volume.frame.voxel_size) < np.asarray(self.frame.voxel_size) * (1 - 1e-6)
        if finer.any():
            raise InputError(
                "volume.mask",
                f"{self.volume.path} with voxels of {list(self.volume.frame.voxel_size)} nm",
                f"voxels at least as large as the volume's {list(self.frame.voxel_size)} nm",
                "downsample the mask",
            )

    def _positions(self, axis: int, begin: int, end: int) -> npt.NDArray[np.int64]:
        """The mask index that holds the centre of each voxel [begin, end) along ``axis``; may lie outside."""
        own = self.volume.frame
        assert own is not None  # checked when this was made
        centres = self.frame.offset[axis] + (np.arange(begin, end) + 0.5) * self.frame.voxel_size[axis]
        return np.floor((centres - own.offset[axis]) / own.voxel_size[axis]).astype(np.int64)

    def read(self, box: Box) -> npt.NDArray[np.bool_]:
        """Tissue or not for every voxel of ``box``."""
        positions = [self._positions(a, box.begin[a], box.end[a]) for a in range(3)]
        if not box:
            return np.zeros(box.shape, bool)
        span = Box(vector([p[0] for p in positions]), vector([p[-1] + 1 for p in positions]))
        held = span.intersect(self.volume.bounds)
        values = np.zeros(span.shape, bool)
        if held:
            values[held.slices(span.begin)] = self.volume.read(held) != 0
        return values[np.ix_(*(p - b for p, b in zip(positions, span.begin, strict=True)))]

    def summarise(self, grid: Grid, blocks: Box, clip: Box) -> tuple[npt.NDArray[np.bool_], Hashes]:
        """(has tissue, digest of the mask) for every block of the index box ``blocks``, each cut to ``clip``.

        The mask is read once, in slabs of blocks along z; the digest changes when any mask voxel of a block does.
        """
        ranges = [self._ranges(a, grid, blocks, clip) for a in range(3)]
        rows = max(1, SLAB_VOXELS // max(1, int(np.ptp(ranges[1])) * int(np.ptp(ranges[2])) * self._depth(ranges[0])))
        parts = [
            self._summarise_slab([ranges[0][first : first + rows], ranges[1], ranges[2]])
            for first in range(0, len(ranges[0]), rows)
        ]
        if not parts:
            return np.zeros(blocks.shape, bool), np.zeros(blocks.shape, np.uint64)
        return np.concatenate([t for t, _ in parts]), np.concatenate([d for _, d in parts])

    @staticmethod
    def _depth(ranges: npt.NDArray[np.int64]) -> int:
        return max(1, int((ranges[:, 1] - ranges[:, 0]).max(initial=1)))

    def _ranges(self, axis: int, grid: Grid, blocks: Box, clip: Box) -> npt.NDArray[np.int64]:
        """(n, 2): the mask indices [low, high) that the voxels of each block along ``axis`` fall on."""
        result = []
        for index in range(blocks.begin[axis], blocks.end[axis]):
            begin = max(index * grid.block_shape[axis], clip.begin[axis])
            end = max(begin, min((index + 1) * grid.block_shape[axis], clip.end[axis]))
            ends = self._positions(axis, begin, end)[[0, -1]] if end > begin else np.array([0, -1])
            result.append((ends[0], ends[1] + 1))
        return np.asarray(result, dtype=np.int64).reshape(-1, 2)

    def _summarise_slab(self, ranges: list[npt.NDArray[np.int64]]) -> tuple[npt.NDArray[np.bool_], Hashes]:
        low = [r[:, 0] for r in ranges]
        high = [np.maximum(r[:, 1], r[:, 0]) for r in ranges]
        span = Box(vector([v.min() for v in low]), vector([v.max() for v in high]))
        values = np.zeros(span.shape, np.uint64)
        held = span.intersect(self.volume.bounds)
        if held:
            values[held.slices(span.begin)] = self.volume.read(held) != 0
        low = [v - b for v, b in zip(low, span.begin, strict=True)]
        high = [v - b for v, b in zip(high, span.begin, strict=True)]
        tissue = box_sums(values, low, high) != 0
        return tissue, box_sums(values * of_grid(span), low, high)
