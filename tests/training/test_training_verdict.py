"""The last lines of a training: score, plateau, warnings, and the command that uses the weights."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from labelled_tissue import configuration, tissue, write

from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.training.config import TrainConfig, TrainingVolume
from fgnet_pipeline.training.train import train
from fgnet_pipeline.training.validation import THRESHOLDS, Score
from fgnet_pipeline.training.verdict import how_to_use, judge, write_run_file
from fgnet_pipeline.training.volumes import LabelledBox
from fgnet_pipeline.training.zero_labels import ZeroLabels


def held_out(isotropic: bool = True, field: str = "data.validation.0") -> LabelledBox:
    """Four objects of 2000 voxels: one segment for all has a VOI of 2 bits."""
    labels = np.repeat(np.arange(1, 5, dtype=np.int32), 2000).reshape(20, 20, 20)
    entry = TrainingVolume(raw="/data/a b.zarr/raw", labels="/data/a b.zarr/labels")
    raw = np.zeros(labels.shape, np.float32)
    return LabelledBox(raw, labels, isotropic, field, entry, None, ZeroLabels(9, 0, 1), "ignore", 0.0)


def curve(voi: dict[float, float], otherwise: float, segments: int = 5, largest: float = 0.3) -> list[Score]:
    """Scores over all thresholds, half of each VOI from splits."""
    values = [voi.get(t, otherwise) / 2 for t in THRESHOLDS]
    return [Score(t, v, v, 0.1, segments, largest) for t, v in zip(THRESHOLDS, values, strict=True)]


def test_a_good_result_says_its_score_and_its_plateau() -> None:
    wide = dict.fromkeys((0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.23), 0.5)
    verdict = judge([curve(wide, 1.5)], [held_out()], "held-out data")
    assert verdict.lines() == [
        "held-out data: VOI 0.500 bits at threshold 0.14 (split 0.250, merge 0.250)",
        "5 segments for 4 labelled objects; thresholds 0.1 to 0.23 are as good (a wide plateau)",
    ]


def test_a_narrow_plateau_is_a_warning() -> None:
    lonely = judge([curve({0.2: 0.5}, 1.5)], [held_out()], "held-out data")
    assert lonely.is_wide and lonely.voi_sum == 1.5  # a single low point is not chosen
    falling = {t: 0.3 + 4 * abs(t - 0.2) for t in THRESHOLDS}
    steep = judge([curve(falling, 9)], [held_out()], "held-out data")
    assert not steep.is_wide and "changes fast with the threshold" in steep.lines()[-1]


@pytest.mark.parametrize(
    ("segments", "largest", "voi", "words"),
    [
        (1, 1.0, 2.0, "ONE SEGMENT in validation.0"),
        (0, 0.0, 2.0, "NO SEGMENT in validation.0"),
        (7, 0.95, 1.7, "one segment takes 95% of validation.0"),
        (4000, 0.1, 1.95, "hardly better than one single segment (2.000 bits)"),
    ],
)
def test_a_useless_result_is_a_warning(segments: int, largest: float, voi: float, words: str) -> None:
    verdict = judge([curve({}, voi, segments, largest)], [held_out()], "held-out data")
    assert any(line.startswith("warning: ") and words in line for line in verdict.lines())


def test_the_run_file_and_the_command_can_be_used(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    config = TrainConfig.load(configuration(tmp_path), ["export.fragments={min_seed_distance=6}"])
    verdict = judge([curve({}, 0.5)], [held_out()], "held-out data")
    weights = tmp_path / "with space" / "weights.safetensors"
    path = write_run_file(config, verdict, held_out(isotropic=False), weights)
    run = load_config(path)
    assert run.volume.path == "/data/a b.zarr/raw" and run.model.checkpoint == str(weights)
    assert (run.fragments.method, run.fragments.min_seed_distance) == ("sections", 6)
    assert run.agglomerate.threshold == verdict.threshold
    words = shlex.split(how_to_use(weights, path)[1].removeprefix("use them: "))
    assert words == ["fgnet", "run", str(path), "--set", f"model.checkpoint={weights}"]
    write_run_file(config, verdict, held_out(), weights)
    assert load_config(path).fragments.method == "volume"


@pytest.mark.parametrize("kind", ["held out", "none held out"])
def test_a_training_ends_with_its_verdict(tmp_path: Path, kind: str) -> None:
    write(tmp_path, *tissue())
    said: list[str] = []
    tile = ["geometry.tile=[16,32,32]", "geometry.margin=[0,0,0]", "geometry.stride=[16,32,32]"]
    settings = ["optimise.phases=[]", *tile]
    file = configuration(tmp_path) if kind == "held out" else configuration(tmp_path, held_out="")
    weights = train(TrainConfig.load(file, settings), report=said.append)
    where = "held-out data" if kind == "held out" else "training data, since data.validation is empty"
    assert any(line.startswith(f"{where}: VOI ") for line in said)
    assert said[-2:] == how_to_use(weights, weights.with_name("run.toml"))
    resolved = json.loads((tmp_path / "out" / "config.json").read_text())["optimise"]
    assert resolved["phases"] == [{"begin": 0, "patch": [16, 32, 64], "batch": 2}] and resolved["warm_up"] == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["verdict"]
    assert summary["where"] == where and summary["objects"] > 1
    scores = tmp_path / "out" / "scores.jsonl"
    assert scores.exists() == (kind == "held out")
    again: list[str] = []
    before = scores.read_bytes() if scores.exists() else b""
    assert train(TrainConfig.load(file, settings), report=again.append) == weights  # a finished training says it again
    assert again == said and (scores.read_bytes() if scores.exists() else b"") == before
