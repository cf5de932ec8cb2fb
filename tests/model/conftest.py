"""Fixtures for tests of the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fgnet.network import FGNet, channels_last
from tiny_network import SMALL, write_checkpoint


@pytest.fixture(scope="module")
def network() -> FGNet:
    """An untrained network, in evaluation mode."""
    torch.manual_seed(0)
    return channels_last(FGNet(SMALL)).eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported weights of an untrained network."""
    return write_checkpoint(tmp_path_factory.mktemp("weights"))
