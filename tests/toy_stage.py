"""The toy stage of tests/stages/toy, installed as a lab would install its own, and what it must have made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pipeline_tools import CHECKOUT, read

SOURCE = CHECKOUT / "tests" / "stages" / "toy"


def install_toy_stage(folder: Path) -> dict[str, str]:
    """Install the toy's distribution into ``folder``; returns the environment in which it is found."""
    copied = folder / "source"
    copied.mkdir(parents=True)
    for name in ("toy_outlines.py", "pyproject.toml"):
        (copied / name).write_bytes((SOURCE / name).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(copied)], check=True, cwd=folder)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])}


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
