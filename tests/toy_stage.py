"""The toy stage of tests/stages/toy, installed as a lab would install its own, and what it must have made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from installed import install_source
from pipeline_tools import CHECKOUT, read

SOURCE = CHECKOUT / "tests" / "stages" / "toy"


def install_toy_stage(folder: Path) -> dict[str, str]:
    """Install the toy's distribution into ``folder``; returns the environment in which it is found."""
    return install_source(SOURCE, folder)


def outlines_of(segmentation: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """The oracle: voxel by voxel, 1 if a neighbour through a face is of another segment."""
    drawn = np.zeros(segmentation.shape, np.uint8)
    padded = np.pad(segmentation, 1, mode="edge")
    for index in np.ndindex(segmentation.shape):
        z, y, x = np.add(index, 1)
        around = padded[[z - 1, z + 1, z, z, z, z], [y, y, y - 1, y + 1, y, y], [x, x, x, x, x - 1, x + 1]]
        drawn[index] = (around != padded[z, y, x]).any()
    return drawn


def assert_outlines(out: Path) -> None:
    """The toy's array is what the oracle makes of the segmentation."""
    np.testing.assert_array_equal(read(out, "outlines"), outlines_of(read(out, "segmentation")))
