"""The configuration of a training: what is documented loads, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline_tools import CHECKOUT
from tiny_training import write_training

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig


def test_the_documented_configuration_loads(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "training.md").read_text()
    sections = text.split("## 1. Data")[1].split("## 3. Run")[0]
    lines = [line.removeprefix("    ") for line in sections.splitlines() if line.startswith("    ")]
    (tmp_path / "train.toml").write_text("\n".join([*lines, "[output]", 'path = "out"']))
    config = TrainConfig.load(tmp_path / "train.toml")
    assert config.data.volumes[0].mask == str(tmp_path / "lab.zarr" / "proofread")
    assert config.network().name == "tiny" and config.optimise.freeze_encoder and config.geometry.tile == (16, 256, 256)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('preset = "nano"', 'preset = "huge"', "architecture"),
        ("batch = 1", "batch = 1\nbatches = 2", "batches"),
        ("warm_up = 1", "warmup = 1", "warmup"),
        ("patch = [32, 32, 32]", "patch = [32, 48, 32]", "patch"),
        ("tile = [32, 32, 32]", "tile = [33, 32, 32]", "geometry.tile"),
        ("stride = [24, 24, 24]", "stride = [30, 24, 24]", "stride"),
        ("cycles = [2]", "cycles = [4, 2]", "optimise.cycles"),
        ("cycles = [2]", "cycles = [2]\nends = 2", "optimise.ends"),
        ("threads = 1", "threads = 1\nloaders = -1", "machine.loaders"),
        ("begin = 0", "begin = 1", "optimise.phases"),
        ('path = "out"', "", "output.path"),
        ("every = 1", "every = 0", "output.every"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig.load(write_training(tmp_path, (old, new)))
    assert field in str(caught.value)
