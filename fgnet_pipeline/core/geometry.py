"""Integer geometry in voxels, zyx: boxes, block grids and fragment ids.

Everything is anchored at voxel 0 of the volume, so no block, id or tile depends on the region of interest.
Nanometres appear only in `voxels_from_nm`.
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

#: Offsets, zyx, of the nearest neighbours: the first three channels of our own affinities.
NEAREST: tuple[Vector, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))

#: A fragment id is `z | y | x | number`: 12 bits per coordinate of its block, 27 bits for the number.
BLOCK_BITS = 12
NUMBER_BITS = 27
MAX_BLOCKS_PER_AXIS = 1 << BLOCK_BITS
MAX_FRAGMENTS_PER_BLOCK = (1 << NUMBER_BITS) - 1


def vector(values: npt.ArrayLike) -> Vector:
    """Convert three numbers to a tuple of ints; fractions are cut off."""
    z, y, x = (int(v) for v in np.asarray(values).ravel())
    return z, y, x


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box `[begin, end)`, zyx, of voxels or of block indices.

    The box is empty if its end does not exceed its begin along every axis.
    """

    begin: Vector
    end: Vector

    @property
    def shape(self) -> Vector:
        """The lengths (z, y, x); 0 along an axis without extent."""
        return vector([max(0, e - b) for b, e in zip(self.begin, self.end, strict=True)])

    @property
    def size(self) -> int:
        """The number of voxels or indices in the box."""
        return prod(self.shape)

    def __bool__(self) -> bool:
        return self.size > 0

    def intersect(self, other: Box) -> Box:
        """The box of all positions that both boxes hold; it may be empty."""
        return Box(
            vector([max(a, b) for a, b in zip(self.begin, other.begin, strict=True)]),
            vector([min(a, b) for a, b in zip(self.end, other.end, strict=True)]),
        )

    def grow(self, below: Vector, above: Vector) -> Box:
        """The box that begins `below` earlier and ends `above` later along each axis."""
        return Box(
            vector(np.subtract(self.begin, below)),
            vector(np.add(self.end, above)),
        )

    def contains(self, other: Box) -> bool:
        """Whether `other` lies inside this box."""
        return self.intersect(other) == other

    def slices(self, origin: Vector = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Slices of this box in an array whose first element has the position `origin`."""
        z, y, x = (slice(b - o, e - o) for b, e, o in zip(self.begin, self.end, origin, strict=True))
        return z, y, x

    def to_list(self) -> list[list[int]]:
        """`[begin, end]` as lists, for JSON."""
        return [list(self.begin), list(self.end)]


def whole(shape: Vector) -> Box:
    """The box of a whole array of `shape`, beginning at 0."""
    return Box((0, 0, 0), shape)


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice of blocks of `block_shape` voxels, zyx.

    Block `(i, j, k)` begins at voxel `(i, j, k) * block_shape`.
    """

    block_shape: Vector

    def box(self, index: Vector) -> Box:
        """The voxels of the block `index`."""
        begin = np.multiply(index, self.block_shape)
        return Box(vector(begin), vector(begin + self.block_shape))

    def index_of(self, voxel: Vector) -> Vector:
        """The index of the block that holds `voxel`."""
        return vector(np.floor_divide(voxel, self.block_shape))

    def covering(self, box: Box) -> Box:
        """The index box of all blocks that touch `box` (voxels); empty if `box` is empty."""
        if not box:
            return Box((0, 0, 0), (0, 0, 0))
        return Box(self.index_of(box.begin), vector(-np.floor_divide(np.negative(box.end), self.block_shape)))


def indices(box: Box) -> Iterator[Vector]:
    """Iterate over all positions of `box`, in C order."""
    axes = (range(b, e) for b, e in zip(box.begin, box.end, strict=True))
    yield from itertools.product(*axes)  # type: ignore[misc]


def first_id(block: Vector) -> int:
    """The id just below the ids of `block`, which are `first_id + 1` to `first_id + MAX_FRAGMENTS_PER_BLOCK`.

    Args:
        block: index in the grid of the fragments stage, zyx, each in [0, 4096).
    """
    z, y, x = block
    packed: int = ((z << BLOCK_BITS | y) << BLOCK_BITS | x) << NUMBER_BITS
    return packed


def block_of_ids(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Find the blocks that packed fragment ids belong to.

    Args:
        ids: uint64 (n,).

    Returns:
        Block indices, int64 (n, 3), zyx.
    """
    packed = (ids >> np.uint64(NUMBER_BITS)).astype(np.int64)
    mask = MAX_BLOCKS_PER_AXIS - 1
    return np.stack([packed >> 2 * BLOCK_BITS, packed >> BLOCK_BITS & mask, packed & mask], axis=-1)


def check_ids_fit(volume_shape: Vector, block_shape: Vector, field: str) -> None:
    """Refuse a grid whose block positions or fragment numbers could overflow the packed id.

    Args:
        volume_shape: voxels, zyx.
        block_shape: voxels, zyx, of the fragments stage.
        field: the configuration key to name in the error.

    Raises:
        InputError: more than 4096 blocks along an axis, or more than 2^27 voxels in a block.
    """
    blocks = -np.floor_divide(np.negative(volume_shape), block_shape)
    if (blocks > MAX_BLOCKS_PER_AXIS).any():
        least = vector(-np.floor_divide(np.negative(volume_shape), MAX_BLOCKS_PER_AXIS))
        raise InputError(
            field,
            list(block_shape),
            f"at most {MAX_BLOCKS_PER_AXIS} blocks per axis so that fragment ids fit 63 bits "
            f"(this volume of {list(volume_shape)} voxels has {blocks.tolist()})",
            f"use blocks of at least {list(least)} voxels",
        )
    if prod(block_shape) > MAX_FRAGMENTS_PER_BLOCK + 1:
        raise InputError(
            field,
            list(block_shape),
            f"at most 2^{NUMBER_BITS} voxels per block so that fragment numbers cannot overflow {NUMBER_BITS} bits",
            "use smaller blocks for this stage, e.g. [512,512,512]",
        )


def voxels_from_nm(
    begin_nm: npt.ArrayLike, offset_nm: npt.ArrayLike, voxel_size_nm: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Convert a position from nm to voxels.

    Args:
        begin_nm: the position, zyx.
        offset_nm: the corner of voxel 0, zyx.
        voxel_size_nm: zyx.

    Returns:
        float64 (3,), zyx, not rounded.
    """
    return (np.asarray(begin_nm, dtype=np.float64) - np.asarray(offset_nm)) / np.asarray(voxel_size_nm)
