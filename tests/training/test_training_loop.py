"""The training loop on a tiny phantom: resume, bad input, processes that draw."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fgnet import ModelError
from fgnet.precision import computes_bfloat16
from fgnet.training.batches import make_batch
from fgnet.training.checkpoints import begin_from, load_state, save_state
from fgnet.training.loop import Trainer, run
from fgnet.training.patch import LabelledVolume
from fgnet.training.settings import LoopSettings
from pipeline_tools import CHECKOUT
from tiny_network import DEVICES, SMALL
from tiny_training import SETTINGS, losses, phantom


class StopError(Exception):
    pass


def test_an_interrupted_training_resumes_to_the_same_loss_curve(tmp_path: Path) -> None:
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
    trainer = Trainer(SMALL, dataclasses.replace(SETTINGS, accumulate=2), [phantom()])
    batches = [make_batch([phantom()], SETTINGS, 0, part) for part in (0, 1)]
    parts = [float(trainer.loss(batch).detach()) for batch in batches]
    assert trainer.step().loss == pytest.approx(np.mean(parts), rel=1e-5) and parts[0] != parts[1]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("device", DEVICES)
def test_processes_that_draw_ahead_change_nothing(device: str, accumulate: int) -> None:
    settings = dataclasses.replace(SETTINGS, accumulate=accumulate)
    here, beside = (Trainer(SMALL, settings, [phantom()], device, loaders=loaders) for loaders in (0, 2))
    for _ in range(SETTINGS.iterations):
        # Sums of a GPU's gradients have no fixed order.
        assert beside.step().loss == pytest.approx(here.step().loss, rel=0 if device == "cpu" else 0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_the_first_loss_and_its_gradients_are_those_of_the_processor(device: str) -> None:
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
from tiny_network import SMALL
from tiny_training import SETTINGS, phantom
if __name__ == "__main__":
    trainer = Trainer(SMALL, SETTINGS, [phantom()], loaders=2)
    trainer.step()
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_drawing_processes_end_with_a_training_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    paths = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "model", CHECKOUT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "killed.py")]
    # Not `run`: it would wait for the pipe, which the drawing processes hold.
    with open(tmp_path / "told", "w") as told:
        assert subprocess.call(command, stdout=told, env=environment) == -signal.SIGKILL
    processes = [int(number) for number in (tmp_path / "told").read_text().split()]
    assert len(processes) == 2
    while any(Path(f"/proc/{number}").exists() for number in processes):  # pytest's own limit ends this
        time.sleep(0.05)


def test_the_result_is_the_mean_of_the_ends_of_the_last_cycles(tmp_path: Path) -> None:
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
    trainer = Trainer(SMALL, dataclasses.replace(SETTINGS, freeze_encoder=True), [phantom()])
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.step()
    for name, value in trainer.network.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(value, before[name])
    assert any(not torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    trainer = Trainer(SMALL, SETTINGS, [phantom()])
    with pytest.raises(ModelError, match="missing: coarse"):
        begin_from(trainer.network, "nano-fib25")


def test_bfloat16_is_used_where_there_are_instructions_for_it() -> None:
    for wanted in (False, True):
        trainer = Trainer(SMALL, dataclasses.replace(SETTINGS, mixed=wanted), [phantom()])
        assert trainer.mixed == (wanted and computes_bfloat16(trainer.device))
