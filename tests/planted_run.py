"""A run on four bars whose faults are known: one merger, one split, and three kinds of seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pipeline_tools import write_config, write_volume

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

SHAPE, BLOCK, THRESHOLD = (48, 48, 48), 24, 0.5
#: Voxel size and offset in nm, zyx.
VOXEL_SIZE, OFFSET = (30.0, 10.0, 10.0), (300.0, 0.0, 50.0)
#: Affinities: inside a bar, between bars, at the planted merger, at the planted split, at the planted seam in y.
INSIDE, BETWEEN, MERGER, SPLIT, SEAM = 255, 25, 135, 120, 110


def run_planted(folder: Path) -> Path:
    """Run on the lab's own affinities and fragments.

    The bars A, B, C, D by (z >= 15, y >= 15) run along x and meet at z = 15 and y = 15, away from faces of blocks. A
    fragment is the part of a bar in one block. Bars A and B are one segment, since their contact is just above the
    threshold. Bar C is two, since its contact at x = 24 is just below. At the face z = 24 of block (1, 1, 1) affinities
    jump and then recover. At the face y = 24 of block (0, 1, 0) bar D has low affinities, but its fragments are joined
    around this face.

    Args:
        folder: gets affinities.zarr, fragments.zarr, labels.zarr, config.toml and out.zarr.

    Returns:
        The configuration.
    """
    z, y, x = np.indices(SHAPE)
    bar = 2 * (z >= 15) + (y >= 15)
    block = (z // BLOCK * 2 + y // BLOCK) * 2 + x // BLOCK
    affinities = np.full((3, *SHAPE), INSIDE, np.uint8)
    affinities[0, 15], affinities[1, :, 15] = BETWEEN, BETWEEN
    affinities[1, :15, 15] = MERGER
    affinities[2, 15:, :15, BLOCK] = SPLIT
    affinities[1, 15:BLOCK, BLOCK, :BLOCK] = SEAM
    inside = np.clip((y - BLOCK) / 8, 0, 1) * np.clip((x - BLOCK) / 8, 0, 1) * np.clip(1 - (z - BLOCK) / 10, 0, 1)
    affinities -= np.where(z >= BLOCK, 80 * inside, 0).astype(np.uint8)
    place = {"voxel_size": list(VOXEL_SIZE), "offset": list(OFFSET)}
    config = write_config(
        folder / "config.toml",
        affinities={"path": write_volume(folder / "affinities.zarr", affinities, {}, chunks=(3, 24, 24, 24))},
        volume=place,
        fragments={"path": write_volume(folder / "fragments.zarr", (1 + bar * 8 + block).astype(np.uint64), place)},
        output={"path": str(folder / "out.zarr")},
        agglomerate={"threshold": THRESHOLD},
        schedule={"workers": 0, "block_shape": [BLOCK] * 3},
    )
    write_volume(folder / "labels.zarr", (bar + 1).astype(np.uint64), place)
    run(load_config(config))
    return config
