"""Integer geometry in voxels, zyx: boxes, block grids and fragment ids.

Everything is anchored at voxel 0 of the volume, so no block, id or tile depends on the region of interest.
Nanometres appear only in :func:`voxels_from_nm`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError

Vector = tuple[int, int, int]

#: A fragment id is ``z | y | x | number``: 12 bits for each coordinate of its block, 27 bits inside the block.
BLOCK_BITS = 12
NUMBER_BITS = 27
MAX_BLOCKS_PER_AXIS = 1 << BLOCK_BITS
MAX_FRAGMENTS_PER_BLOCK = (1 << NUMBER_BITS) - 1


def vector(values: npt.ArrayLike) -> Vector:
    """Three ints out of any sequence of three numbers."""
    z, y, x = (int(v) for v in np.asarray(values).ravel())
    return z, y, x


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open box ``[begin, end)`` in voxels, zyx; empty where an end does not exceed its begin."""

    begin: Vector
    end: Vector

    @property
    def shape(self) -> Vector:
        return vector([max(0, e - b) for b, e in zip(self.begin, self.end, strict=True)])

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __bool__(self) -> bool:
        return self.size > 0

    def intersect(self, other: Box) -> Box:
        return Box(
            vector([max(a, b) for a, b in zip(self.begin, other.begin, strict=True)]),
            vector([min(a, b) for a, b in zip(self.end, other.end, strict=True)]),
        )

    def grow(self, below: Vector, above: Vector) -> Box:
        return Box(
            vector(np.subtract(self.begin, below)),
            vector(np.add(self.end, above)),
        )

    def contains(self, other: Box) -> bool:
        return self.intersect(other) == other

    def slices(self, origin: Vector = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Slices of this box in an array whose first voxel is ``origin``."""
        z, y, x = (slice(b - o, e - o) for b, e, o in zip(self.begin, self.end, origin, strict=True))
        return z, y, x

    def to_list(self) -> list[list[int]]:
        return [list(self.begin), list(self.end)]


def whole(shape: Vector) -> Box:
    """The box of an array of ``shape``."""
    return Box((0, 0, 0), shape)


@dataclass(frozen=True, slots=True)
class Grid:
    """Lattice of blocks of ``block_shape`` voxels; block ``(i, j, k)`` begins at voxel ``(i, j, k) * block_shape``."""

    block_shape: Vector

    def box(self, index: Vector) -> Box:
        begin = np.multiply(index, self.block_shape)
        return Box(vector(begin), vector(begin + self.block_shape))

    def index_of(self, voxel: Vector) -> Vector:
        return vector(np.floor_divide(voxel, self.block_shape))

    def covering(self, box: Box) -> Box:
        """The box of block indices whose blocks touch ``box`` (voxels)."""
        if not box:
            return Box((0, 0, 0), (0, 0, 0))
        return Box(self.index_of(box.begin), vector(-np.floor_divide(np.negative(box.end), self.block_shape)))


def indices(box: Box) -> Iterator[Vector]:
    """All integer positions of ``box``, in C order."""
    axes = (range(b, e) for b, e in zip(box.begin, box.end, strict=True))
    yield from itertools.product(*axes)  # type: ignore[misc]


def first_id(block: Vector) -> int:
    """The id that number 0 of ``block`` would have: its fragments are ``first_id + 1 ...``, a contiguous range."""
    z, y, x = block
    packed: int = ((z << BLOCK_BITS | y) << BLOCK_BITS | x) << NUMBER_BITS
    return packed


def block_of_ids(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Grid positions (n, 3) zyx of the blocks that packed fragment ``ids`` (n,) belong to."""
    packed = (ids >> np.uint64(NUMBER_BITS)).astype(np.int64)
    mask = MAX_BLOCKS_PER_AXIS - 1
    return np.stack([packed >> 2 * BLOCK_BITS, packed >> BLOCK_BITS & mask, packed & mask], axis=-1)


def check_ids_fit(volume_shape: Vector, block_shape: Vector, field: str) -> None:
    """Refuse a grid whose block positions or fragment numbers could overflow the packed id.

    Raises:
        InputError: more than 4096 blocks along an axis, or more than 2^27 voxels that could each be a fragment.
    """
    blocks = -np.floor_divide(np.negative(volume_shape), block_shape)
    if (blocks > MAX_BLOCKS_PER_AXIS).any():
        least = vector(-np.floor_divide(np.negative(volume_shape), MAX_BLOCKS_PER_AXIS))
        raise InputError(
            field,
            list(block_shape),
            f"at most {MAX_BLOCKS_PER_AXIS} blocks an axis so that fragment ids fit 63 bits "
            f"(this volume of {list(volume_shape)} voxels has {blocks.tolist()})",
            f"use blocks of at least {list(least)} voxels",
        )
    if prod(block_shape) > MAX_FRAGMENTS_PER_BLOCK + 1:
        raise InputError(
            field,
            list(block_shape),
            f"at most 2^{NUMBER_BITS} voxels a block so that fragment numbers cannot overflow {NUMBER_BITS} bits",
            "use smaller blocks for this stage, e.g. [512,512,512]",
        )


def voxels_from_nm(
    begin_nm: npt.ArrayLike, offset_nm: npt.ArrayLike, voxel_size_nm: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Voxel coordinates (floats) of a position in nm, given the offset of voxel 0 and the voxel size, all zyx."""
    return (np.asarray(begin_nm, dtype=np.float64) - np.asarray(offset_nm)) / np.asarray(voxel_size_nm)
