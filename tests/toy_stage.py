"""The toy stage of tests/stages/toy: where its source is, and what it must have made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pipeline_tools import CHECKOUT, read, write_config

#: Its distribution, for `installed.install_source`.
SOURCE = CHECKOUT / "tests" / "stages" / "toy"
#: Of the volume that the tests take, and of its blocks, in voxels, zyx.
SHAPE, BLOCK = (48, 32, 32), [16, 16, 16]
BLOCKS = 3 * 2 * 2


def write_after_prediction(folder: Path, affinities: Path, **schedule: object) -> Path:
    """A configuration that starts from affinities; `schedule` are further keys of that table."""
    return write_config(
        folder / "config.toml",
        affinities={"path": str(affinities)},
        output={"path": str(folder / "out.zarr")},
        schedule={"workers": 0, "block_shape": BLOCK, **schedule},
        agglomerate={"leaf_blocks": 4},  # one node: few jobs on a cluster
    )


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
