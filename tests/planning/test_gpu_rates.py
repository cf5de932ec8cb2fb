"""`fgnet plan --gpu`: hours, energy and cost by measured rates."""

from __future__ import annotations

import json
import tomllib
from math import prod
from pathlib import Path

import fgnet
import numpy as np
import pytest
from fgnet.config import PRESETS
from fgnet.weights import MODES
from pipeline_tools import Command, standard_config, write_volume

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.planning.estimate import estimate
from fgnet_pipeline.planning.gpu_rates import RATES, gpu_rate
from fgnet_pipeline.stages.configuration import load_config

NANO = ["model.checkpoint=nano-fib25", "model.any_voxel_size=true", "schedule.block_shape=[72,72,72]"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of a volume of 144 x 144 x 72 voxels: 4 blocks, and tiles of `nano-fib25` along their lattice."""
    folder = tmp_path_factory.mktemp("gpu_rates")
    raw = np.random.default_rng(0).integers(1, 255, (144, 144, 72)).astype(np.uint8)
    return standard_config(folder, write_volume(folder / "raw.zarr", raw))


def test_every_rate_is_of_a_preset_and_a_mode_and_says_how_it_was_measured() -> None:
    for row in tomllib.loads(RATES.read_text())["rate"]:
        assert row["command"].startswith("python benchmarks/") and row["commit"] and row["torch"]
        for table in ("mvoxel_per_second", "microjoule_per_voxel"):
            for preset, modes in row[table].items():
                assert preset in PRESETS and set(modes) <= set(MODES) and min(modes.values()) > 0
                assert set(modes) <= set(row["mvoxel_per_second"][preset])


def test_hours_energy_and_cost_are_those_of_the_tiles(config: Path) -> None:
    changes = [*NANO, "model.mode=fast", "schedule.predict.workers=2"]
    found = estimate(load_config(config, changes), gpu="NVIDIA h200", gpu_price=3.0)
    assert found.gpu is not None and found.tiles is not None
    stride = fgnet.read_geometry("nano-fib25", "fast").stride
    seconds = found.tiles["computed"] * prod(stride) / 10.6e6
    assert found.gpu.gpu_hours == pytest.approx(seconds / 3600)
    assert found.gpu.hours == pytest.approx(seconds / 7200)
    assert found.gpu.cost == pytest.approx(3 * seconds / 3600)
    assert found.gpu.kwh == pytest.approx(14.7e-6 * found.tiles["computed"] * prod(stride) / 3.6e6)
    predict = next(stage for stage in found.stages if stage.task == "predict")
    assert predict.worker_hours == pytest.approx(seconds / 3600) and predict.seconds_from == "rate of one H200"


def test_energy_that_was_not_measured_and_a_price_that_was_not_given_are_unknown(config: Path) -> None:
    found = estimate(load_config(config, [*NANO, "model.mode=exact"]), gpu="H200").gpu
    assert found is not None and found.kwh is None and found.cost is None


def test_the_command_says_hours_and_where_they_come_from(config: Path, command: Command) -> None:
    changes = [word for change in NANO for word in ("--set", change)]
    _, text, _ = command("plan", config, *changes, "--gpu", "H200", "--gpu-price", "2")
    assert "8.1 Mvoxel/s" in " ".join(text.split()) and "cost" in text and "throughput.py" in text
    document = json.loads(command("plan", config, *changes, "--gpu", "H200", "--json")[1])
    assert document["gpu"]["gpu_hours"] > 0 and "throughput.py" in document["gpu"]["measured"]
    assert json.loads(command("plan", config, *changes, "--json")[1])["gpu"] is None


@pytest.mark.parametrize(
    ("changes", "gpu", "price", "words"),
    [
        (NANO, "A100", None, ("--gpu = 'A100'", "H200, H100", "--trial")),
        (NANO, "GH200", None, ("--gpu = 'GH200'",)),
        (NANO, None, 2.0, ("--gpu-price = 2.0", "add --gpu")),
        (NANO, "H200", -1.0, ("--gpu-price = -1.0", "at least 0")),
        ([], "H200", None, ("--gpu = 'H200'", "identity")),
    ],
)
def test_what_has_no_rate_is_refused(
    config: Path, changes: list[str], gpu: str | None, price: float | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as refusal:
        estimate(load_config(config, changes), gpu=gpu, gpu_price=price)
    assert all(word in str(refusal.value) for word in words)


def test_a_mode_that_was_not_measured_is_refused() -> None:
    with pytest.raises(InputError, match="large in mode fast was measured"):
        gpu_rate("H100", "large", "fast")
