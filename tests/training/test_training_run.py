"""`fgnet train` from a configuration to weights: resume, validation, TensorBoard, preview."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fgnet
import numpy as np
import pytest
import torch
from fgnet.tensors import read_weights
from tiny_training import HELD_OUT, losses, write_training

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.preview import write_preview
from fgnet_pipeline.training.train import train


def test_a_configuration_trains_exports_and_predicts(labelled: Path) -> None:
    config = TrainConfig.load(write_training(labelled), ["optimise.seed=5"])
    assert config.output.path == str(labelled / "out") and config.optimise.seed == 5
    weights = train(config)
    geometry = fgnet.read_geometry(str(weights))
    assert geometry.tile == (32, 32, 32) and geometry.normalisation == "robust"
    found = fgnet.load_predictor(str(weights))(np.zeros((1, 32, 32, 32), np.float32))
    assert found.shape == (1, 3, 24, 24, 24)
    assert json.loads((labelled / "out" / "summary.json").read_text())["iterations"] == 2
    assert TrainConfig.model_validate_json((labelled / "out" / "config.json").read_text()) == config


def test_training_goes_on_from_exported_weights(labelled: Path) -> None:
    first = train(TrainConfig.load(write_training(labelled)))
    begun = ("cycles = [2]", "cycles = [2]\nlearning_rate = 1e-30")
    config = write_training(
        labelled, ('preset = "nano"', 'preset = "nano"\nweights = "out/weights.safetensors"'), begun
    )
    second = train(TrainConfig.load(config, [f"output.path={labelled / 'more'}"]))
    before, after = (read_weights(path) for path in (first, second))
    assert all(torch.allclose(before[k].float(), after[k].float(), atol=1e-3) for k in before)
    with pytest.raises(InputError, match="no-such-weights"):
        train(TrainConfig.load(config, [f"output.path={labelled / 'x'}", "model.weights=no-such-weights"]))
    assert not (labelled / "x").exists()


def test_validation_scores_the_averaged_weights(labelled: Path) -> None:
    block = "[optimise]\ncycles"
    file = write_training(labelled, (block, HELD_OUT + block), ("every = 1", "every = 1\nvalidate_every = 2"))
    train(TrainConfig.load(file))
    lines = [json.loads(line) for line in (labelled / "out" / "scores.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2]
    curve = lines[0]["curves"][0]
    assert all(s["voi_sum"] == s["voi_split"] + s["voi_merge"] for s in curve)
    assert any(s["threshold"] == lines[0]["threshold"] and s["voi_sum"] == lines[0]["voi_sum"] for s in curve)


def test_tensorboard_gets_scalars_and_pictures_and_keeps_them_over_a_resume(labelled: Path) -> None:
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    file = write_training(labelled)
    train(TrainConfig.load(file, ["output.tensorboard=true"]))
    train(TrainConfig.load(file, ["output.tensorboard=true", "optimise.cycles=[2,3]"]))
    events = board.EventAccumulator(str(labelled / "out" / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == [0, 1, 2]
    assert [e.value for e in events.Scalars("train/loss")] == pytest.approx(losses(labelled / "out"), rel=1e-6)
    picture = events.Images("patch")[-1]
    assert (picture.width, picture.height) == (4 * 32, 32)


def test_tensorboard_wanted_and_missing_is_said_before_anything_is_written(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match="pip install"):
        train(TrainConfig.load(write_training(labelled), ["output.tensorboard=true"]))
    assert not (labelled / "out").exists()


def test_a_training_of_another_architecture_overwrites_nothing(labelled: Path) -> None:
    file = write_training(labelled)
    train(TrainConfig.load(file))
    before = {p.name: p.read_bytes() for p in (labelled / "out").iterdir()}
    for override in ("model.guidance=none", "optimise.seed=7"):
        with pytest.raises(InputError, match="another output path"):
            train(TrainConfig.load(file, [override]))
    assert {p.name: p.read_bytes() for p in (labelled / "out").iterdir()} == before


def test_scores_of_iterations_that_are_done_again_are_dropped(labelled: Path) -> None:
    file = write_training(
        labelled, ("[optimise]\n", HELD_OUT + "[optimise]\n"), ("every = 1", "every = 1\nvalidate_every = 1")
    )
    train(TrainConfig.load(file, ["optimise.cycles=[1]"]))
    with open(labelled / "out" / "scores.jsonl", "a") as log:
        log.write('{"iteration": 2, "voi_sum": 0.0}\n{"iterat')
    train(TrainConfig.load(file))
    lines = [json.loads(line) for line in (labelled / "out" / "scores.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2] and "curves" in lines[1]


def test_the_preview_is_a_picture(labelled: Path) -> None:
    from PIL import Image

    write_preview(TrainConfig.load(write_training(labelled)), labelled / "p.png", 2)
    assert Image.open(labelled / "p.png").size == (3 * 36, 2 * 36)
