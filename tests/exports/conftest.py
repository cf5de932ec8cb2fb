"""Fixtures of the tests of exports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from installed import forget, install_source
from pipeline_tools import CHECKOUT, run_on_cells

from fgnet_pipeline.exports.registry import formats


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
    from pipeline_tools import run, standard_config

    from fgnet_pipeline.stages.configuration import load_config

    config = standard_config(tmp_path_factory.mktemp("unfinished"), str(finished_run / "raw.zarr"))
    run(load_config(config), ("predict",))
    return config


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
