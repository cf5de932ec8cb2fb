"""Fixtures of the tests of exports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from installed import forget, install_source
from pipeline_tools import ATTRIBUTES, CHECKOUT, cells, read, run_on_cells, write_config, write_volume

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.exports.registry import formats
from fgnet_pipeline.stages.configuration import load_config


@pytest.fixture(scope="session")
def toy_format(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables for processes in which the toy format is installed."""
    return install_source(CHECKOUT / "tests" / "exports" / "toy", tmp_path_factory.mktemp("toy_format"))


@pytest.fixture
def toy_here(toy_format: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy format is installed in this process until the test ends."""
    monkeypatch.setenv("PYTHONPATH", toy_format["PYTHONPATH"])
    monkeypatch.syspath_prepend(toy_format["PYTHONPATH"].split(os.pathsep)[0])
    forget(monkeypatch, "toy_blocks")
    formats.cache_clear()
    yield
    formats.cache_clear()


@pytest.fixture(scope="session")
def unfinished_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a run that has predicted only."""
    from pipeline_tools import standard_config

    config = standard_config(tmp_path_factory.mktemp("unfinished"), str(finished_run / "raw.zarr"))
    run(load_config(config), ("predict",))
    return config


@pytest.fixture(scope="session")
def odd_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with sizes that are no whole nm, an offset, a region, a quantile, and edges in other blocks."""
    folder = tmp_path_factory.mktemp("odd")
    attributes = {**ATTRIBUTES, "voxel_size": [4.5, 9.6, 10], "offset": [-7.25, 3.5, 100]}
    raw = write_volume(folder / "raw.zarr", cells((40, 50, 60), seed=5), attributes)
    corner = np.multiply((3, 5, 7), attributes["voxel_size"]) + attributes["offset"]
    end = np.multiply((40, 49, 60), attributes["voxel_size"]) + attributes["offset"]
    config = write_config(
        folder / "config.toml",
        volume={"path": raw, "roi": [corner.tolist(), end.tolist()]},
        output={"path": str(folder / "out.zarr")},
        model={"checkpoint": "identity"},
        schedule={"workers": 0, "block_shape": [24, 24, 24]},
        agglomerate={"leaf_blocks": 1, "score": "quantile", "quantile": 0.75, "min_contact": 3, "threshold": 0.4},
    )
    config.write_text(config.read_text() + "[schedule.edges]\nblock_shape = [16, 20, 32]\n")
    run(load_config(config, ["edges.histogram=true"]))
    config.write_text(config.read_text() + "[edges]\nhistogram = true\n")
    return folder


@pytest.fixture(scope="session")
def lab_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run from a lab's own fragments: they extend over blocks, and their ids are any below 2^63."""
    folder = tmp_path_factory.mktemp("lab")
    names, place = np.unique(read(finished_run / "out.zarr", "segmentation"), return_inverse=True)
    ids = np.random.default_rng(3).integers(1, (1 << 63) - 1, len(names), np.uint64)
    ids[-1], ids[names == 0] = (1 << 63) - 1, 0
    fragments = write_volume(folder / "fragments.zarr", ids[place].reshape(40, 50, 60))
    config = write_config(
        folder / "config.toml",
        affinities={"path": str(finished_run / "out.zarr" / "affinities")},
        fragments={"path": fragments},
        output={"path": str(folder / "out.zarr")},
        schedule={"workers": 0, "block_shape": [24, 24, 24]},
        agglomerate={"threshold": 0.3},
    )
    run(load_config(config))
    return folder


@pytest.fixture(scope="session")
def region_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run over a part of 30 x 40 x 50 voxels that no block and no cell is aligned with."""
    region = "volume.roi=[[50,30,70],[270,390,450]]"
    return run_on_cells(tmp_path_factory.mktemp("region"), (30, 40, 50), overrides=(region,))


@pytest.fixture(scope="session")
def run_command() -> Callable[..., None]:
    """Runs a command in this process, for fixtures of modules; it must succeed."""
    from fgnet_pipeline.commands import cli

    def call(*arguments: object) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.guarded(lambda: cli.app([str(a) for a in arguments]))
        assert ended.value.code == 0

    return call
