"""Phases and warm-up that a configuration leaves open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fgnet.config import preset
from fgnet.network import FGNet
from fgnet.tensors import read_weights
from fgnet.training.checkpoints import begin_from
from fgnet.training.settings import LoopSettings
from fgnet.weights import locate, read_trained_on
from labelled_tissue import configuration, tissue, write

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.defaults import told, with_defaults
from fgnet_pipeline.training.volumes import load_training


def test_the_warm_up_is_a_tenth_of_a_short_training() -> None:
    assert [LoopSettings(cycles=(n,)).rise for n in (5, 300, 2000, 9000)] == [0, 30, 200, 200]
    assert LoopSettings(cycles=(300,), warm_up=7).rise == 7
    rates = [LoopSettings(cycles=(300,)).rate(i) for i in (0, 14, 29)]
    assert rates == pytest.approx([1e-3 / 30, 1e-3 / 2, 1e-3], rel=0.03)


@pytest.mark.parametrize(
    ("name", "shape", "isotropic", "device", "phases"),
    [
        ("nano", (140, 250, 250), True, "cpu", [(0, (32, 64, 64), 2), (980, (96, 96, 96), 1)]),
        ("nano", (140, 250, 250), True, "cuda", [(0, (64, 64, 64), 8), (400, (96, 96, 96), 4)]),
        ("nano", (40, 250, 70), True, "cpu", [(0, (32, 64, 64), 2), (980, (32, 96, 64), 1)]),
        ("nano-sections", (16, 384, 512), False, "cpu", [(0, (12, 96, 96), 2), (980, (16, 96, 96), 1)]),
        ("nano-sections", (10, 384, 512), False, "cuda", [(0, (8, 160, 160), 8)]),
        ("large", (100, 1000, 1000), False, "cuda", [(0, (96, 96, 96), 1)]),
    ],
)
def test_phases_fit_network_data_and_device(
    tmp_path: Path, name: str, shape: tuple[int, int, int], isotropic: bool, device: str, phases: list[Any]
) -> None:
    write(tmp_path, *tissue())
    settings = ["optimise.phases=[]", "optimise.cycles=[1000]", f"model.preset={name}", f"machine.device={device}"]
    tile = ["geometry.tile=[96,96,96]", "geometry.margin=[12,12,12]", "geometry.stride=[72,72,72]"]
    config = TrainConfig.load(configuration(tmp_path), [*settings, *tile])
    box = replace(load_training(config)[0], raw=np.empty(shape, np.float32), isotropic=isotropic)
    found = with_defaults(config, [box])
    assert [(p.begin, p.patch, p.batch) for p in found.optimise.phases] == phases
    assert TrainConfig.validated(found.model_dump(mode="json")) == found and "patch" in told(found)


def test_the_preset_for_sections_begins_with_the_shipped_weights() -> None:
    network = FGNet(preset("nano-sections"))
    begin_from(network, "nano-fib25")
    given = read_weights(locate("nano-fib25"))
    assert all(torch.equal(network.state_dict()[k], v.float()) for k, v in given.items())
    with torch.no_grad():
        logits = network.eval()(torch.zeros(1, 1, 4, 32, 64))
    assert logits.refined.shape == (1, 3, 4, 32, 64)  # four sections are enough
    assert read_trained_on("nano-fib25") is not None and read_trained_on("identity") is None


def test_the_look_of_the_data_is_stated_by_new_weights(tmp_path: Path) -> None:
    from fgnet_pipeline.training.train import train

    write(tmp_path, *tissue())
    stated = read_trained_on(str(train(TrainConfig.load(configuration(tmp_path, held_out="")))))
    assert stated is not None and stated["borders"] < -1 and stated["normalisation"] == "robust"
    write(tmp_path, 255 - tissue()[0], tissue()[1])
    file = configuration(tmp_path, held_out="")
    settings = [f"output.path={tmp_path / 'more'}", f"model.weights={tmp_path / 'out' / 'weights.safetensors'}"]
    with pytest.raises(InputError, match=r"as in the data of model\.weights"):
        train(TrainConfig.load(file, settings))
    assert not (tmp_path / "more").exists()
