"""Fixtures of the tests of stages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from installed import install_source
from pipeline_tools import cells, fgnet, standard_config, write_volume
from toy_stage import BLOCK, SHAPE, SOURCE

from fgnet_pipeline.stages.configuration import choices
from fgnet_pipeline.stages.registry import stages


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables for processes in which the toy stage is installed."""
    return install_source(SOURCE, tmp_path_factory.mktemp("toy"))


@pytest.fixture
def toy_here(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy stage is installed in this process, and in those that it starts, until the test ends."""
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    monkeypatch.syspath_prepend(environment["PYTHONPATH"].split(os.pathsep)[0])
    for registered in (stages, choices):
        registered.cache_clear()
    yield
    for registered in (stages, choices):
        registered.cache_clear()


@pytest.fixture(scope="session")
def toy_run(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with the toy stage: a driver and two workers in processes of their own; no test changes it."""
    folder = tmp_path_factory.mktemp("toy_run")
    raw = write_volume(folder / "raw.zarr", cells(SHAPE, seed=5))
    fgnet("run", standard_config(folder, raw, block_shape=BLOCK), "--workers", 2, env=environment)
    return folder


@pytest.fixture(scope="session")
def affinities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of affinities of the toy's shape; a run that starts from them loads no torch."""
    path = tmp_path_factory.mktemp("affinities") / "affinities.zarr"
    write_volume(path, np.stack([cells(SHAPE, seed=5)] * 3), {"voxel_size": [10, 10, 10], "offset": [0, 0, 0]})
    return path
