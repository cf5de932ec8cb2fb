"""Outputs of serial runs, with which the outputs of clusters are compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_tools import SLOW_CONTEXT, write_after_prediction
from pipeline_tools import cells, standard_config, write_volume

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a serial run from the raw volume, which lies beside it as raw.zarr."""
    folder = tmp_path_factory.mktemp("local")
    raw = write_volume(folder / "raw.zarr", cells((64, 48, 48), seed=3))
    path = standard_config(folder, raw, block_shape=[16, 16, 16])
    run(load_config(path, ["agglomerate.leaf_blocks=8", f"fragments.context={SLOW_CONTEXT}"]))
    return folder / "out.zarr"


@pytest.fixture(scope="session")
def expected(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a serial run that starts from the affinities of `local`."""
    folder = tmp_path_factory.mktemp("expected")
    run(load_config(write_after_prediction(folder, local), ["schedule.workers=0"]))
    return folder / "out.zarr"
