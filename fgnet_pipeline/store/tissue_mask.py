"""The tissue mask: a volume of which every voxel other than 0 is tissue.

It may have any coarser or equal resolution, and is placed by its position in the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Grid, vector
from fgnet_pipeline.core.hashing import Hashes, box_sums, of_grid
from fgnet_pipeline.store.frame import rounding
from fgnet_pipeline.store.volume import Frame, Volume

#: Voxels of the other volume by which a mask may miss a whole or half voxel without lying elsewhere.
SNAP = 1e-3
#: Mask voxels that are held at once: as 64-bit numbers for `Mask.summarise`, as bytes for `Mask.tissue`.
PART_VOXELS, PART_BYTES = 1 << 20, 1 << 24


@dataclass(frozen=True)
class Mask:
    """A mask volume as the voxels of another volume see it. There is no tissue outside the mask's array.

    Attributes:
        volume: of the mask; 0 = no tissue.
        frame: voxel size and offset of the other volume.
        field: the configuration key to name in errors.

    Raises:
        InputError: the mask states no voxel size, or its voxels are smaller than those of the other volume.
    """

    volume: Volume
    frame: Frame
    field: str = "volume.mask"

    def __post_init__(self) -> None:
        if self.volume.frame is None:
            raise InputError(
                self.field, self.volume.path, "voxel_size and offset attributes", "add them to the mask array"
            )
        own, other = np.asarray(self.volume.frame.voxel_size), np.asarray(self.frame.voxel_size)
        finer = own + rounding(own) + rounding(other) < other * (1 - 1e-6)
        if finer.any():
            raise InputError(
                self.field,
                f"{self.volume.path} with voxels of {list(self.volume.frame.voxel_size)} nm",
                f"voxels at least as large as the volume's {list(self.frame.voxel_size)} nm",
                "downsample the mask",
            )

    @cached_property
    def _grid(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Begin and voxel size of the mask in voxels of the other volume, zyx.

        Rounded numbers (our arrays store whole picometres) are made whole again: far from the origin their error would
        grow to whole voxels.
        """
        assert self.volume.frame is not None  # checked when this was made
        own = self.volume.frame.seen_from(self.frame)
        size, own_size = np.asarray(self.frame.voxel_size), np.asarray(own.voxel_size)
        whole = np.maximum(1, np.rint(own_size / size))
        close = np.abs(own_size - whole * size) <= rounding(own_size) + whole * rounding(size) + 1e-9 * own_size
        ratio = np.where(close, whole, own_size / size)
        size = np.where(close & (rounding(own_size) < whole * rounding(size)), own_size / whole, size)
        begin = np.subtract(own.offset, self.frame.offset) / size
        halves = np.rint(2 * begin) / 2
        return np.where(np.abs(begin - halves) < SNAP, halves, begin), ratio

    def _positions(self, axis: int, begin: int, end: int) -> npt.NDArray[np.int64]:
        """Along `axis`: the index in the mask, inside it or not, at the centre of each voxel [begin, end)."""
        first, size = self._grid[0][axis], self._grid[1][axis]
        return np.floor((np.arange(begin, end) + 0.5 - first) / size).astype(np.int64)

    def read(self, box: Box) -> npt.NDArray[np.bool_]:
        """Whether each voxel of `box` is tissue: bool (z, y, x)."""
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
        """Whether blocks have tissue, and a digest of the mask in each.

        The digest is a sum over mask voxels. It is computed in parts, of which about `PART_VOXELS` are held at once.

        Args:
            grid: of the blocks.
            blocks: index box of blocks, zyx.
            clip: box in voxels at which every block is cut off.

        Returns:
            bool (z, y, x) and uint64 (z, y, x), both of the shape of `blocks`.
        """
        ranges = [self._ranges(a, grid, blocks, clip) for a in range(3)]
        tissue, digest = np.zeros(blocks.shape, bool), np.zeros(blocks.shape, np.uint64)
        for part, chosen in self._parts(ranges, [slice(0, n) for n in blocks.shape], PART_VOXELS):
            found, sums = self._summarise_slab(chosen)
            with np.errstate(over="ignore"):
                tissue[part] |= found
                digest[part] += sums
        return tissue, digest

    def tissue(self, grid: Grid, blocks: Box, clip: Box) -> npt.NDArray[np.bool_]:
        """Whether blocks have tissue: the first result of `summarise`, but faster, for many mask voxels."""
        ranges = [self._ranges(a, grid, blocks, clip) for a in range(3)]
        tissue = np.zeros(blocks.shape, bool)
        for part, chosen in self._parts(ranges, [slice(0, n) for n in blocks.shape], PART_BYTES):
            tissue[part] |= self._any_of_slab(chosen)
        return tissue

    def _parts(
        self, ranges: list[npt.NDArray[np.int64]], part: list[slice], voxels: int
    ) -> Iterator[tuple[tuple[slice, ...], list[npt.NDArray[np.int64]]]]:
        """Divide the blocks into parts with up to `voxels` mask voxels; a block with more is cut into slabs of z.

        Args:
            ranges: per axis (n, 2), from `_ranges`.
            part: the blocks to divide, as slices of `ranges`.
            voxels: to be held at once.

        Yields:
            The blocks of a part, as slices, and their ranges along each axis.
        """
        if any(s.stop <= s.start for s in part):
            return
        chosen = [r[s] for r, s in zip(ranges, part, strict=True)]
        extents = [max(1, int(r[:, 1].max() - r[:, 0].min())) for r in chosen]
        widest = int(np.argmax([n if len(r) > 1 else 0 for n, r in zip(extents, chosen, strict=True)]))
        if np.prod(extents, dtype=np.float64) > voxels and len(chosen[widest]) > 1:
            middle = (part[widest].start + part[widest].stop) // 2
            for half in (slice(part[widest].start, middle), slice(middle, part[widest].stop)):
                yield from self._parts(ranges, [*part[:widest], half, *part[widest + 1 :]], voxels)
            return
        step = max(1, int(voxels // (extents[1] * extents[2])))
        low, high = int(chosen[0][:, 0].min()), int(chosen[0][:, 1].max())
        for first in range(low, high, step):
            yield tuple(part), [np.clip(chosen[0], first, first + step), chosen[1], chosen[2]]

    def _ranges(self, axis: int, grid: Grid, blocks: Box, clip: Box) -> npt.NDArray[np.int64]:
        """Along `axis`: the range [low, high) of mask indices that the voxels of each block fall on, (n, 2)."""
        result = []
        for index in range(blocks.begin[axis], blocks.end[axis]):
            begin = max(index * grid.block_shape[axis], clip.begin[axis])
            end = max(begin, min((index + 1) * grid.block_shape[axis], clip.end[axis]))
            ends = self._positions(axis, begin, end)[[0, -1]] if end > begin else np.array([0, -1])
            result.append((ends[0], ends[1] + 1))
        return np.asarray(result, dtype=np.int64).reshape(-1, 2)

    def _slab(
        self, ranges: list[npt.NDArray[np.int64]], dtype: type[np.generic], beyond: int = 0
    ) -> tuple[npt.NDArray[Any], Box, list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]]:
        """Read the span of `ranges`, with `beyond` more voxels at its end.

        Returns:
            The values (z, y, x), 1 for tissue; the span; and the begins and ends of the ranges inside it, per axis.
        """
        low = [r[:, 0] for r in ranges]
        high = [np.maximum(r[:, 1], r[:, 0]) for r in ranges]
        span = Box(vector([v.min() for v in low]), vector([v.max() for v in high]))
        values = np.zeros(np.add(span.shape, beyond), dtype)
        held = span.intersect(self.volume.bounds)
        if held:
            values[held.slices(span.begin)] = self.volume.read(held) != 0
        low = [v - b for v, b in zip(low, span.begin, strict=True)]
        high = [v - b for v, b in zip(high, span.begin, strict=True)]
        return values, span, low, high

    def _any_of_slab(self, ranges: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.bool_]:
        found, _, low, high = self._slab(ranges, np.uint8, beyond=1)
        for axis in range(3):
            ends = np.stack([low[axis], high[axis]], axis=-1).ravel()
            shape = [1, 1, 1]
            shape[axis] = -1
            # For an empty range reduceat gives the value at its begin; but an empty range holds no tissue.
            found = np.maximum.reduceat(found, ends, axis=axis)[(slice(None),) * axis + (slice(None, None, 2),)]
            found = found * (high[axis] > low[axis]).reshape(shape)
        return found != 0

    def _summarise_slab(self, ranges: list[npt.NDArray[np.int64]]) -> tuple[npt.NDArray[np.bool_], Hashes]:
        values, span, low, high = self._slab(ranges, np.uint64)
        tissue = box_sums(values, low, high) != 0
        return tissue, box_sums(values * of_grid(span), low, high)
