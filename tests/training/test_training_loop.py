"""A whole training on a tiny phantom: resume, bad input, export."""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fgnet
import numpy as np
import pytest
import torch
import zarr
from fgnet import ModelError
from fgnet.precision import computes_bfloat16
from fgnet.tensors import read_weights
from fgnet.training.batches import make_batch
from fgnet.training.checkpoints import begin_from, load_state, save_state
from fgnet.training.loop import Trainer, run
from fgnet.training.sampling import LabelledVolume
from fgnet.training.settings import LoopSettings, Phase
from pipeline_tools import CHECKOUT
from tests.test_model_modes import DEVICES
from tests.test_model_predictor import SMALL

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.volume import open_volume
from fgnet_pipeline.training.train import (
    TrainConfig,
    dense_labels,
    load_volumes,
    sampled_constants,
    train,
    write_preview,
)

SETTINGS = LoopSettings(
    cycles=(4, 6), phases=(Phase(0, (16, 32, 32), 1), Phase(3, (16, 32, 32), 2)), warm_up=2, mixed=False
)


def phantom() -> LabelledVolume:
    generator = torch.Generator().manual_seed(0)
    labels = torch.ones(24, 40, 40, dtype=torch.int32)
    labels[:, 20:] = 2
    raw = torch.randn(24, 40, 40, generator=generator) * 0.1
    raw[:, 19:21] -= 2
    return LabelledVolume(raw, labels)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


class StopError(Exception):
    pass


def test_an_interrupted_training_resumes_to_the_same_loss_curve(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = Trainer(SMALL, SETTINGS, [phantom()])
    run(whole, tmp_path / "whole", 2)

    def stop(step: object) -> None:
        if getattr(step, "iteration", 0) == 4:
            raise StopError

    with pytest.raises(StopError):
        run(Trainer(SMALL, SETTINGS, [phantom()]), tmp_path / "parts", 2, stop)
    with open(tmp_path / "parts" / "log.jsonl", "a") as log:
        log.write('{"iteration": 5, "lo')
    resumed = Trainer(SMALL, SETTINGS, [phantom()])
    run(resumed, tmp_path / "parts", 2)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts") and len(losses(tmp_path / "whole")) == 6
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name]), name


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_training_lowers_the_loss(device: str, mixed: bool) -> None:
    torch.set_num_threads(1)
    settings = dataclasses.replace(SETTINGS, cycles=(25,), warm_up=5, learning_rate=3e-3, mixed=mixed)
    trainer = Trainer(SMALL, settings, [phantom()], device)
    values = [trainer.step().loss for _ in range(25)]
    assert np.mean(values[-5:]) < 0.8 * np.mean(values[:5])


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(tmp_path: Path) -> None:
    volume = phantom()
    run(Trainer(SMALL, dataclasses.replace(SETTINGS, cycles=(2,)), [volume]), tmp_path, 1)
    before = (tmp_path / "last.pt").read_bytes()
    broken = LabelledVolume(torch.full_like(volume.raw, float("nan")), volume.labels)
    with pytest.raises(ModelError, match="finite number at iteration 2"):
        run(Trainer(SMALL, SETTINGS, [broken]), tmp_path, 1)
    assert (tmp_path / "last.pt").read_bytes() == before


def test_a_state_of_another_network_or_a_torn_one_is_refused(tmp_path: Path) -> None:
    run(Trainer(SMALL, dataclasses.replace(SETTINGS, cycles=(1,)), [phantom()]), tmp_path, 1)
    other = dataclasses.replace(SMALL, coarse_channels=16)
    with pytest.raises(ModelError, match="architecture"):
        run(Trainer(other, SETTINGS, [phantom()]), tmp_path, 1)
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="training state"):
        run(Trainer(SMALL, SETTINGS, [phantom()]), tmp_path, 1)


def test_a_state_from_before_a_field_was_added_resumes(tmp_path: Path) -> None:
    """An older architecture lacks what has a default now."""
    first = Trainer(SMALL, dataclasses.replace(SETTINGS, cycles=(1,)), [phantom()])
    run(first, tmp_path, 1)
    state = first.state()
    state["architecture"] = state["architecture"].replace('"coarse_padding": "zeros", ', "")
    assert state["architecture"] != SMALL.to_json()
    later = Trainer(SMALL, SETTINGS, [phantom()])
    later.restore(state)
    assert later.iteration == 1


def test_the_learning_rate_warms_up_falls_and_starts_anew() -> None:
    settings = LoopSettings(cycles=(100, 200), phases=SETTINGS.phases, warm_up=10, learning_rate=1.0, restart_rate=0.5)
    rates = [settings.rate(i) for i in range(200)]
    assert rates[0] == pytest.approx(0.1) and rates[99] < 0.02
    assert max(rates[:100]) > 0.95 and 0.45 < max(rates[100:]) <= 0.5
    assert all(a > b for a, b in itertools.pairwise(rates[10:100]))


def test_accumulated_gradients_are_those_of_the_parts() -> None:
    torch.set_num_threads(1)
    trainer = Trainer(SMALL, dataclasses.replace(SETTINGS, accumulate=2), [phantom()])
    batches = [make_batch([phantom()], SETTINGS, 0, part) for part in (0, 1)]
    parts = [float(trainer.loss(batch).detach()) for batch in batches]
    assert trainer.step().loss == pytest.approx(np.mean(parts), rel=1e-5) and parts[0] != parts[1]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("device", DEVICES)
def test_processes_that_draw_ahead_change_nothing(device: str, accumulate: int) -> None:
    torch.set_num_threads(1)
    settings = dataclasses.replace(SETTINGS, accumulate=accumulate)
    here, beside = (Trainer(SMALL, settings, [phantom()], device, loaders=loaders) for loaders in (0, 2))
    for _ in range(SETTINGS.iterations):
        # Sums of a GPU's gradients have no fixed order.
        assert beside.step().loss == pytest.approx(here.step().loss, rel=0 if device == "cpu" else 0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_the_first_loss_and_its_gradients_are_those_of_the_processor(device: str) -> None:
    torch.set_num_threads(1)
    batch = make_batch([phantom()], SETTINGS, 0)
    trainers = [Trainer(SMALL, SETTINGS, [phantom()], where) for where in ("cpu", device)]
    values = [trainer.loss(batch) for trainer in trainers]
    assert float(values[1].detach()) == pytest.approx(float(values[0].detach()), rel=1e-3)
    for value in values:
        value.backward()  # type: ignore[no-untyped-call]
    expected, found = (
        torch.cat([p.grad.flatten().cpu() for p in t.network.parameters() if p.grad is not None]) for t in trainers
    )
    assert float((found - expected).norm() / expected.norm()) < 0.02


def test_a_drawing_process_that_is_killed_ends_the_training_with_a_clear_error() -> None:
    torch.set_num_threads(1)
    trainer = Trainer(SMALL, dataclasses.replace(SETTINGS, cycles=(10_000,)), [phantom()], loaders=1)
    trainer.step()
    (process,) = (p for p in multiprocessing.active_children() if p.daemon)
    os.kill(process.pid or 0, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"machine\.loaders"):
        for _ in range(100):
            trainer.step()


KILLED = """
import multiprocessing, os, signal
from fgnet.training.loop import Trainer
from tests.test_model_predictor import SMALL
from tests.test_training_loop import SETTINGS, phantom
if __name__ == "__main__":
    trainer = Trainer(SMALL, SETTINGS, [phantom()], loaders=2)
    trainer.step()
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_drawing_processes_end_with_a_training_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    root = CHECKOUT
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'model'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "killed.py")]
    # Not `run`: it would wait for the pipe, which the drawing processes hold.
    with open(tmp_path / "told", "w") as told:
        assert subprocess.call(command, stdout=told, env=environment) == -signal.SIGKILL
    processes = [int(number) for number in (tmp_path / "told").read_text().split()]
    assert len(processes) == 2
    while any(Path(f"/proc/{number}").exists() for number in processes):  # pytest's own limit ends this
        time.sleep(0.05)


def test_the_result_is_the_mean_of_the_ends_of_the_last_cycles(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = dataclasses.replace(SETTINGS, cycles=(2, 4, 6), ends=2)
    trainer = Trainer(SMALL, settings, [phantom()])
    ends = {}
    for i in range(5):
        trainer.step()
        ends[i + 1] = {k: v.clone() for k, v in trainer.average.items()}
        assert trainer.result() is trainer.average
    resumed = Trainer(SMALL, settings, [phantom()])
    save_state(tmp_path / "last.pt", trainer.state())
    resumed.restore(load_state(tmp_path / "last.pt"))
    resumed.step()
    for name, value in resumed.result().items():
        assert torch.allclose(value, (ends[4][name] + resumed.average[name]) / 2), name
    state = resumed.state() | {"ends": {}}
    with pytest.raises(ModelError, match=r"optimise\.ends.*\[4, 6\]"):
        Trainer(SMALL, settings, [phantom()]).restore(state)


def test_a_frozen_encoder_stays_as_it_is() -> None:
    torch.set_num_threads(1)
    trainer = Trainer(SMALL, dataclasses.replace(SETTINGS, freeze_encoder=True), [phantom()])
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.step()
    for name, value in trainer.network.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(value, before[name])
    assert any(not torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())


def write_volume(folder: Path, shape: tuple[int, int, int] = (32, 64, 64), **labels_attributes: object) -> None:
    _, y, x = np.indices(shape)
    labels = (1 + y // 16 + 10 * (x // 16) + 5_000_000_000).astype(np.uint64)
    raw = np.random.default_rng(0).integers(90, 150, shape).astype(np.uint8)
    raw[(y % 16 == 0) | (x % 16 == 0)] = 20
    frame = {"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    for name, data, attributes in (("raw", raw, frame), ("labels", labels, {**frame, **labels_attributes})):
        array = zarr.create_array(folder / "v.zarr" / name, shape=data.shape, dtype=data.dtype, chunks=(16, 32, 32))
        array[:] = data
        array.attrs.update(attributes)


CONFIG = """
[model]
preset = "nano"
[geometry]
tile = [32, 32, 32]
margin = [4, 4, 4]
stride = [24, 24, 24]
[[data.volumes]]
raw = "v.zarr/raw"
labels = "v.zarr/labels"
end = [24, 64, 64]
[optimise]
cycles = [2]
warm_up = 1
[[optimise.phases]]
begin = 0
patch = [32, 32, 32]
batch = 1
[output]
path = "out"
every = 1
[machine]
device = "cpu"
threads = 1
"""


def write_config(folder: Path, *replacements: tuple[str, str]) -> Path:
    text = CONFIG
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / "train.toml").write_text(text)
    return folder / "train.toml"


def test_a_configuration_trains_exports_and_predicts(tmp_path: Path) -> None:
    write_volume(tmp_path)
    config = TrainConfig.load(write_config(tmp_path), ["optimise.seed=5"])
    assert config.output.path == str(tmp_path / "out") and config.optimise.seed == 5
    weights = train(config)
    geometry = fgnet.read_geometry(str(weights))
    assert geometry.tile == (32, 32, 32) and geometry.normalisation == "robust"
    found = fgnet.load_predictor(str(weights))(np.zeros((1, 32, 32, 32), np.float32))
    assert found.shape == (1, 3, 24, 24, 24)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["iterations"] == 2
    assert TrainConfig.model_validate_json((tmp_path / "out" / "config.json").read_text()) == config


def test_training_goes_on_from_exported_weights(tmp_path: Path) -> None:
    write_volume(tmp_path)
    first = train(TrainConfig.load(write_config(tmp_path)))
    begun = ("cycles = [2]", "cycles = [2]\nlearning_rate = 1e-30")
    config = write_config(tmp_path, ('preset = "nano"', 'preset = "nano"\nweights = "out/weights.safetensors"'), begun)
    second = train(TrainConfig.load(config, [f"output.path={tmp_path / 'more'}"]))
    before, after = (read_weights(path) for path in (first, second))
    assert all(torch.allclose(before[k].float(), after[k].float(), atol=1e-3) for k in before)
    with pytest.raises(InputError, match="no-such-weights"):
        train(TrainConfig.load(config, [f"output.path={tmp_path / 'x'}", "model.weights=no-such-weights"]))
    assert not (tmp_path / "x").exists()


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    trainer = Trainer(SMALL, SETTINGS, [phantom()])
    with pytest.raises(ModelError, match="missing: coarse"):
        begin_from(trainer.network, "nano-fib25")


def test_bfloat16_is_used_where_there_are_instructions_for_it() -> None:
    for wanted in (False, True):
        trainer = Trainer(SMALL, dataclasses.replace(SETTINGS, mixed=wanted), [phantom()])
        assert trainer.mixed == (wanted and computes_bfloat16(trainer.device))


def test_validation_scores_the_averaged_weights(tmp_path: Path) -> None:
    write_volume(tmp_path)
    block = "[optimise]\ncycles"
    held = '[[data.validation]]\nraw = "v.zarr/raw"\nlabels = "v.zarr/labels"\nbegin = [24, 0, 0]\n'
    file = write_config(tmp_path, (block, held + block), ("every = 1", "every = 1\nvalidate_every = 2"))
    train(TrainConfig.load(file))
    lines = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2]
    curve = lines[0]["curves"][0]
    assert all(s["voi_sum"] == s["voi_split"] + s["voi_merge"] for s in curve)
    assert any(s["threshold"] == lines[0]["threshold"] and s["voi_sum"] == lines[0]["voi_sum"] for s in curve)


def test_tensorboard_gets_scalars_and_pictures_and_keeps_them_over_a_resume(tmp_path: Path) -> None:
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write_volume(tmp_path)
    file = write_config(tmp_path)
    train(TrainConfig.load(file, ["output.tensorboard=true"]))
    train(TrainConfig.load(file, ["output.tensorboard=true", "optimise.cycles=[2,3]"]))
    events = board.EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == [0, 1, 2]
    assert [e.value for e in events.Scalars("train/loss")] == pytest.approx(losses(tmp_path / "out"), rel=1e-6)
    picture = events.Images("patch")[-1]
    assert (picture.width, picture.height) == (4 * 32, 32)


def test_tensorboard_wanted_and_missing_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_volume(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match="pip install"):
        train(TrainConfig.load(write_config(tmp_path), ["output.tensorboard=true"]))
    assert not (tmp_path / "out").exists()


def test_a_training_of_another_architecture_overwrites_nothing(tmp_path: Path) -> None:
    write_volume(tmp_path)
    file = write_config(tmp_path)
    train(TrainConfig.load(file))
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    for override in ("model.guidance=none", "optimise.seed=7"):
        with pytest.raises(InputError, match="another output path"):
            train(TrainConfig.load(file, [override]))
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_scores_of_iterations_that_are_done_again_are_dropped(tmp_path: Path) -> None:
    write_volume(tmp_path)
    held = '[[data.validation]]\nraw = "v.zarr/raw"\nlabels = "v.zarr/labels"\nbegin = [24, 0, 0]\n'
    file = write_config(
        tmp_path, ("[optimise]\n", held + "[optimise]\n"), ("every = 1", "every = 1\nvalidate_every = 1")
    )
    train(TrainConfig.load(file, ["optimise.cycles=[1]"]))
    with open(tmp_path / "out" / "scores.jsonl", "a") as log:
        log.write('{"iteration": 2, "voi_sum": 0.0}\n{"iterat')
    train(TrainConfig.load(file))
    lines = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2] and "curves" in lines[1]


def test_a_coarser_mask_takes_labels_away(tmp_path: Path) -> None:
    write_volume(tmp_path)
    mask = np.zeros((16, 32, 32), np.uint8)
    mask[4:12, 8:20, :16] = 1
    array = zarr.create_array(tmp_path / "v.zarr" / "mask", shape=mask.shape, dtype="u1", chunks=(16, 32, 32))
    array[:] = mask
    frame = {"voxel_size": [20, 20, 20], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    array.attrs.update(frame)
    masked = 'begin = [4, 0, 0]\nend = [28, 64, 64]\nmask = "v.zarr/mask"'
    file = write_config(tmp_path, ("end = [24, 64, 64]", masked))
    config = TrainConfig.load(file)
    labels = load_volumes(config)[0].labels.numpy()
    assert np.array_equal(labels > 0, mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)[4:28] > 0)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    plain = TrainConfig.load(write_config(tmp_path))
    assert '"mask"' not in plain.model_dump_json()
    array.attrs.update({"voxel_size": [5, 5, 5]})
    with pytest.raises(InputError, match=r"data\.volumes\.0\.mask"):
        load_volumes(config)


def test_constants_come_from_the_whole_volume_however_large_its_sections(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(2, 1500, 1500), dtype="u1", chunks=(1, 750, 750))
    array[0], array[1] = 10, 200
    shift, scale = sampled_constants(open_volume(str(tmp_path / "a.zarr")), "robust")
    assert (shift, scale) == pytest.approx((105, 95))


def test_the_documented_configuration_loads(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "training.md").read_text()
    sections = text.split("## 1. Data")[1].split("## 3. Run")[0]
    lines = [line.removeprefix("    ") for line in sections.splitlines() if line.startswith("    ")]
    (tmp_path / "train.toml").write_text("\n".join([*lines, "[output]", 'path = "out"']))
    config = TrainConfig.load(tmp_path / "train.toml")
    assert config.data.volumes[0].mask == str(tmp_path / "lab.zarr" / "proofread")
    assert config.network().name == "tiny" and config.optimise.freeze_encoder and config.geometry.tile == (16, 256, 256)


def test_the_preview_is_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    write_volume(tmp_path)
    write_preview(TrainConfig.load(write_config(tmp_path)), tmp_path / "p.png", 2)
    assert Image.open(tmp_path / "p.png").size == (3 * 36, 2 * 36)


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
        TrainConfig.load(write_config(tmp_path, (old, new)))
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("case", "field"),
    [
        ("no labels", "labels"),
        ("shape", "labels"),
        ("offset", "labels"),
        ("box", "end"),
        ("float", "labels"),
        ("empty", "labels"),
        ("not finite", "raw"),
    ],
)
def test_bad_data_are_named_and_nothing_is_written(tmp_path: Path, case: str, field: str) -> None:
    write_volume(tmp_path, **({"offset": [0, 0, 10]} if case == "offset" else {}))
    target = tmp_path / "v.zarr" / "labels"
    config = write_config(tmp_path)
    if case == "no labels":
        config = write_config(tmp_path, ("v.zarr/labels", "v.zarr/nothing"))
    if case == "box":
        config = write_config(tmp_path, ("end = [24, 64, 64]", "end = [24, 65, 64]"))
    if case in ("shape", "float", "empty"):
        shape = (32, 64, 60) if case == "shape" else (32, 64, 64)
        array = zarr.create_array(target, shape=shape, dtype="f4" if case == "float" else "u8", overwrite=True)
        array.attrs.update({"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"]})
    if case == "not finite":
        attributes = dict(zarr.open_array(tmp_path / "v.zarr" / "raw").attrs)
        raw = zarr.create_array(tmp_path / "v.zarr" / "raw", shape=(32, 64, 64), dtype="f4", overwrite=True)
        raw[:] = 1.0
        raw[5, 5, 5] = np.nan
        raw.attrs.update(attributes)
    with pytest.raises(InputError) as caught:
        train(TrainConfig.load(config))
    assert caught.value.field == f"data.volumes.0.{field}"
    assert not (tmp_path / "out").exists()


def test_labels_become_dense_and_zero_stays() -> None:
    assert dense_labels(np.array([7, 9, 7, 2**40])).tolist() == [1, 2, 1, 3]
    assert dense_labels(np.array([0, 9, 9, 0])).tolist() == [0, 1, 1, 0]
