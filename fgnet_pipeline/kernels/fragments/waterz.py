"""Fragments by the watershed of the waterz package; the background that it leaves is flooded as by `volume`."""

import os
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.fragments.method import FragmentsMethod, Labels, Settings
from fgnet_pipeline.kernels.fragments.watershed import flooded, height_of_six_faces


def segment(affinities: Any, settings: Settings) -> Labels:
    """Cut a volume into fragments, which need not be connected.

    Args:
        affinities: uint8 (3, z, y, x), the affinities of a voxel and the voxel before it in z, y and x.
        settings: only the mask is used.

    Returns:
        uint32 (z, y, x): 0 outside the mask, otherwise 1..n.
    """
    found = _watershed(affinities)
    if settings.mask is not None:
        found[~settings.mask] = 0
    positions = np.argwhere(found > 0)
    labels = np.unique(found[found > 0], return_inverse=True)[1].astype(np.uint32) + np.uint32(1)
    return flooded(height_of_six_faces(affinities), settings.mask, positions, labels)


def _watershed(affinities: Any) -> NDArray[np.uint64]:
    """The watershed of waterz: uint8 (3, z, y, x) -> uint64 (z, y, x), 0 = background that waterz leaves.

    waterz reports to standard output from Python and from C++. For the time of the call standard output of the whole
    process leads nowhere.
    """
    import waterz
    import wurlitzer

    scaled = affinities.astype(np.float32) / 255
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), wurlitzer.pipes(stdout=nowhere, stderr=None):
        found = next(waterz.agglomerate(scaled, [0.0], aff_threshold_low=0.0001, aff_threshold_high=0.9999))
        return np.array(found, copy=True)


# waterz is imported only by the workers of a run that uses it.
METHOD = FragmentsMethod("waterz", segment, context=(16, 16, 16), warms_up=False)
