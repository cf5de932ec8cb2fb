"""What the tests of clusters share: configurations, comparisons and waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pipeline_tools import assert_same_output, write_config

#: Every block of fragments reads the whole volume of 64 x 48 x 48 voxels, so that there is time to interfere.
SLOW_CONTEXT = [48, 48, 48]
#: Blocks of fragments in that volume.
BLOCKS = 4 * 3 * 3
#: Seconds.
PATIENCE = 300.0


def wait_for(condition: Callable[[], object], what: str, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Wait until `condition` holds; fail if it takes too long, or once `goes_on` says that it never will.

    A condition that takes long, for example a command, is asked less often, or it would slow down what it waits for.
    """
    give_up = time.monotonic() + PATIENCE
    while True:
        asked = time.monotonic()
        if condition():
            return
        assert time.monotonic() < give_up, f"waited {PATIENCE:.0f} s for {what}"
        assert goes_on(), f"the process ended while waiting for {what}"
        time.sleep(min(1.0, max(0.02, 2 * (time.monotonic() - asked))))


def write_after_prediction(folder: Path, local: Path, **schedule: object) -> Path:
    """A configuration of everything after prediction, so that no worker has to load torch.

    Args:
        folder: where the file and the output go.
        local: an output with affinities.
        schedule: further keys of `[schedule]`.
    """
    path = write_config(
        folder / "config.toml",
        affinities={"path": str(local / "affinities")},
        fragments={"context": SLOW_CONTEXT},
        output={"path": str(folder / "out.zarr")},
        schedule={"workers": 2, "block_shape": [16, 16, 16], **schedule},
        agglomerate={"leaf_blocks": 8},
    )
    fewer = "".join(f"[schedule.{stage}]\nworkers = 1\n" for stage in ("edges", "agglomerate", "relabel"))
    path.write_text(path.read_text() + fewer)
    return path


def assert_same_after_prediction(one: Path, other: Path) -> None:
    assert_same_output(one, other, ("fragments", "segmentation", "tables"))
