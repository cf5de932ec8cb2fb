"""Padding: regions of one exact value, which a volume holds beside its tissue and in place of lost sections.

A network that normalises over its tile sees every tissue voxel of the tile through the padding. So padding is replaced
by mirrored tissue before the network sees the tile. What replaces a voxel depends on the tile's voxels alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.kernels.tiling import reflect

#: Shortest run of equal sampled values that counts as padding: one row of a cube of `store.input_identity.CUBE`.
SAMPLED_RUN = 32
#: Shape of the boxes without affinity that count as void, voxels zyx.
VOID = (5, 9, 9)
#: How often a position is mirrored at its nearest tissue voxel before the nearest tissue voxel itself is taken.
REFLECTIONS = 4


def padding_of(values: npt.NDArray[Any], shortest: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Whether each voxel is padding: it lies in a run of one exact value along y or x.

    Sections are looked at one by one, because a lost section is padding, too.

    Args:
        values: raw (z, y, x) of any dtype; NaN equals nothing.
        shortest: length of a run that counts, along y and along x, in voxels.

    Returns:
        bool (z, y, x).
    """
    turned = np.swapaxes(values, 1, 2)
    result = np.zeros(values.shape, bool)
    if _may_have_run(turned, shortest[0]):
        result |= np.swapaxes(in_runs(turned, shortest[0]), 1, 2)
    if _may_have_run(values, shortest[1]):
        result |= in_runs(values, shortest[1])
    return result


def _may_have_run(values: npt.NDArray[Any], shortest: int) -> bool:
    """Whether `in_runs` may find anything, in a fraction of its time.

    A run holds a whole cell of a lattice of cells that are half as long. In tissue, a few voxels of each cell tell.
    """
    cell = max(1, (shortest + 1) // 2)
    cells = values.shape[-1] // cell
    equal = np.ones((*values.shape[:-1], cells), bool)
    first = values[..., : cells * cell : cell]
    for i in range(1, cell):
        equal &= values[..., i : cells * cell : cell] == first
        if not equal.any():
            return False
    return bool(equal.size)


def in_runs(values: npt.NDArray[Any], shortest: int) -> npt.NDArray[np.bool_]:
    """Whether each value belongs to a run of at least `shortest` equal values along the last axis.

    Args:
        values: of any shape and dtype.
        shortest: at least 1.

    Returns:
        bool of the same shape.
    """
    begins = np.ones(values.shape, bool)
    begins[..., 1:] = values[..., 1:] != values[..., :-1]
    positions = np.flatnonzero(begins)
    lengths = np.diff(np.append(positions, values.size))
    return np.repeat(lengths >= shortest, lengths).reshape(values.shape)


def filled(values: npt.NDArray[Any], padding: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Replace padding by the tissue mirrored at the tissue voxel that is nearest (Euclidean, in voxels).

    Beside a flat face this is the reflection that a tile sees at a face of the volume.

    Args:
        values: (z, y, x) of any dtype.
        padding: bool (z, y, x); at least one voxel is False.

    Returns:
        A copy (z, y, x) of the same dtype, with tissue unchanged.
    """
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(padding, return_distances=False, return_indices=True)
    places = np.stack(np.nonzero(padding))
    sources = places
    for _ in range(REFLECTIONS):
        at = tuple(sources)
        mirrored = 2 * nearest[(slice(None), *at)] - sources
        mirrored = np.stack([reflect(m, n) for m, n in zip(mirrored, values.shape, strict=True)])
        sources = np.where(padding[at], mirrored, sources)
    sources = nearest[(slice(None), *sources)]  # a tissue voxel is the nearest one to itself
    result = values.copy()
    result[tuple(places)] = values[tuple(sources)]
    return result


def deep_in(padding: npt.NDArray[np.bool_], margin: Vector) -> npt.NDArray[np.bool_]:
    """Whether no tissue lies within `margin` of a voxel, for the voxels that are at least `margin` inside.

    Args:
        padding: bool (z, y, x).
        margin: voxels along z, y and x.

    Returns:
        bool (z, y, x), smaller than `padding` by `margin` at each face.
    """
    from scipy import ndimage

    size = [2 * m + 1 for m in margin]
    eroded = ndimage.minimum_filter(padding.view(np.uint8), size=size, mode="nearest").view(bool)
    z, y, x = (slice(m, n - m) for m, n in zip(margin, padding.shape, strict=True))
    return np.asarray(eroded[z, y, x])


def without_padding(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sampled values without those that padding consists of, whatever these values are.

    Args:
        samples: raw (n,) of any dtype, row after row of the sampled cubes.

    Returns:
        The samples whose value forms no run of `SAMPLED_RUN`; all samples if every value does.
    """
    constant = np.unique(samples[in_runs(samples, SAMPLED_RUN)])
    kept = samples[~np.isin(samples, constant)]
    return kept if kept.size else samples


def void_of(affinities: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each voxel lies in a box of `VOID` voxels that has no affinity at all: the inside of padding.

    Tissue holds no such box: a membrane is thinner, and noise leaves no affinity of exactly 0.

    Args:
        affinities: uint8 (C, z, y, x).

    Returns:
        bool (z, y, x).
    """
    from scipy import ndimage

    nothing = affinities.max(axis=0) == 0
    # Every box of VOID holds a whole cell of a lattice of cells that are half as long.
    cells = [(n + 1) // 2 for n in VOID]
    rows = [np.arange(0, n, c) for n, c in zip(nothing.shape, cells, strict=True)]
    empty = nothing
    for axis, begins in enumerate(rows):
        empty = np.logical_and.reduceat(empty, begins, axis=axis)
    if not empty.any():
        return np.zeros_like(nothing)
    inside = ndimage.minimum_filter(nothing.view(np.uint8), size=VOID, mode="constant", cval=1)
    return np.asarray(ndimage.maximum_filter(inside, size=VOID, mode="constant", cval=0).view(bool) & nothing)
