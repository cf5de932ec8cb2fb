"""Fixtures of the tests of runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pipeline_tools import run_on_cells


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a serial run of all stages in blocks of 24 voxels; no test changes it."""
    return run_on_cells(tmp_path_factory.mktemp("reference"), (50, 60, 70)) / "out.zarr"


@pytest.fixture(scope="session")
def raw(reference: Path) -> str:
    """Path of the raw volume of `reference`."""
    return str(reference.parent / "raw.zarr")


@pytest.fixture
def copied(reference: Path, tmp_path: Path) -> Path:
    """A copy of `reference` named out.zarr, which the test may change."""
    shutil.copytree(reference, tmp_path / "out.zarr")
    return tmp_path / "out.zarr"
