"""Fragments by a seeded watershed of each section by itself, for volumes with thick sections.

A section is the (y, x) plane at one z. This is the watershed of the FGNet paper (docs/decisions/watershed.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.fragments.method import FragmentsMethod, Labels, Settings
from fgnet_pipeline.kernels.fragments.watershed import flooded, seed_positions


def segment(affinities: Any, settings: Settings) -> Labels:
    """Cut every section into connected fragments.

    Args:
        affinities: uint8 (3, z, y, x), the affinities of a voxel and the voxel before it in z, y and x.
        settings: the neighbourhood is not used.

    Returns:
        uint32 (z, y, x): 0 outside the mask, otherwise 1..n; no label is in two sections.
    """
    out = np.zeros(affinities.shape[1:], np.uint32)
    total = 0
    for z in range(len(out)):
        height = _height(affinities[1:3, z : z + 1])
        mask = None if settings.mask is None else settings.mask[z : z + 1]
        found = flooded(height, mask, seed_positions(height, settings, mask))[0]
        out[z] = np.where(found > 0, found + np.uint32(total), np.uint32(0))
        total += int(found.max())
    return out


def _height(affinities: Any) -> NDArray[np.uint8]:
    """255 minus the mean of two channels, rounded half up: uint8 (2, z, y, x) -> uint8 (z, y, x)."""
    out = np.empty(affinities.shape[1:], np.uint8)
    _mean_of_two(np.ascontiguousarray(affinities), out)
    return out


@njit
def _mean_of_two(affinities: Any, out: Any) -> None:
    one, two, target = affinities[0].reshape(-1), affinities[1].reshape(-1), out.reshape(-1)
    for p in range(len(target)):
        target[p] = 255 - ((np.int64(one[p]) + np.int64(two[p])) >> 1)


# No section is read but the block's own.
METHOD = FragmentsMethod("sections", segment, context=(0, 32, 32))
