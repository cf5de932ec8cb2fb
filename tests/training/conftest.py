"""Fixtures for tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_training import write_labelled


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in torch, and so losses, depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder with v.zarr, see `tiny_training.write_labelled`."""
    write_labelled(tmp_path)
    return tmp_path
