"""Blocks of background only: in a lab's own fragments, and left by the mask or by padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Command, cells, read, write_config, write_volume

SHAPE = (24, 48, 24)


@pytest.mark.parametrize("background", ["one block", "all blocks", "left by the mask"])
def test_a_block_of_background_in_a_labs_fragments_is_done_like_any_other(
    tmp_path: Path, command: Command, background: str
) -> None:
    fragments = np.arange(1, 1 + 24 * 48 * 24, dtype=np.uint64).reshape(SHAPE) // 600 + 1
    fragments[:, 24:] = 0
    if background == "all blocks":
        fragments[:] = 0
    overrides: list[str] = []
    if background == "left by the mask":
        fragments[:, 24:36] = 77
        mask = np.ones(SHAPE, np.uint8)
        mask[:, 24:36] = 0  # the second block has tissue, and no fragment in it
        overrides = ["--set", f"volume.mask={write_volume(tmp_path / 'mask.zarr', mask)}"]
    affinities = write_volume(tmp_path / "affinities.zarr", np.full((3, *SHAPE), 200, np.uint8), attributes={
        "neighbourhood": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]})  # fmt: skip
    config = write_config(
        tmp_path / "config.toml",
        volume={"path": write_volume(tmp_path / "raw.zarr", cells(SHAPE))},
        affinities={"path": affinities},
        fragments={"path": write_volume(tmp_path / "fragments.zarr", fragments)},
        output={"path": str(tmp_path / "out.zarr")},
        schedule={"workers": 0, "block_shape": [24, 24, 24]},
        agglomerate={"leaf_blocks": 1},
    )
    code, _, text = command("run", config, *overrides)
    assert code == 0, text
    found = read(tmp_path / "out.zarr", "segmentation")
    fragments[fragments == 77] = 0
    assert ((found > 0) == (fragments > 0)).all()
    assert command("verify", config, *overrides)[0] == 0
