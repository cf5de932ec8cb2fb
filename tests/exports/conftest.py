"""Fixtures of the tests of exports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import forget, install_source
from pipeline_tools import CHECKOUT

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
