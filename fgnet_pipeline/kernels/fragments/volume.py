"""Fragments by a seeded watershed of the whole volume, in 3D."""

from typing import Any

from fgnet_pipeline.kernels.fragments.method import FragmentsMethod, Labels, Settings
from fgnet_pipeline.kernels.fragments.watershed import flooded, height_of_six_faces, seed_positions


def segment(affinities: Any, settings: Settings) -> Labels:
    """Cut a volume into connected fragments.

    Args:
        affinities: uint8 (3, z, y, x), the affinities of a voxel and the voxel before it in z, y and x.
        settings: the neighbourhood is not used.

    Returns:
        uint32 (z, y, x): 0 outside the mask, otherwise 1..n.
    """
    height = height_of_six_faces(affinities)
    return flooded(height, settings.mask, seed_positions(height, settings, settings.mask))


METHOD = FragmentsMethod("volume", segment, context=(16, 16, 16))
