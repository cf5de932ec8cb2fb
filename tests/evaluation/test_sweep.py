"""``fgnet sweep``: the same scores as relabelling and evaluating at every threshold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_tools import ATTRIBUTES, cells, read, standard_config, state_of, write_volume

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.evaluation.comparison import compare
from fgnet_pipeline.evaluation.sweep import PLATEAU_SHARE, Point, steps, summarise, sweep
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

SHAPE = (40, 50, 60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(configuration of a finished run, labels that are the cells cut off by 10 voxels in z, some of them 0)."""
    folder = tmp_path_factory.mktemp("sweep")
    data = cells(SHAPE, count=12)
    config = standard_config(folder, write_volume(folder / "raw.zarr", data))
    run(load_config(config))
    labels = (read(folder / "out.zarr", "segmentation") >> np.uint64(2)).astype(np.uint64)[10:]
    labels = np.where(data[10:] > 30, labels % 97, 0)
    return config, write_volume(folder / "labels.zarr", labels, dict(ATTRIBUTES, offset=[100, 0, 0]))


@pytest.mark.parametrize("threshold", [0.1, 0.45, 0.7, 0.92, 1.0])
def test_equals_relabelling_and_evaluation(finished: tuple[Path, str], tmp_path: Path, threshold: float) -> None:
    config, labels = finished
    _, result = sweep(load_config(config), labels, [threshold])
    other = load_config(config, [f"agglomerate.threshold={threshold}"])
    run(other)
    scores = compare(f"{other.output.path}/segmentation", labels)
    for name in ("voi_split", "voi_merge", "voi_sum", "adapted_rand_error"):
        assert getattr(result.best, name) == pytest.approx(getattr(scores, name), abs=1e-9)
    assert scores.voi_sum > 0


def test_part_of_the_labels_and_of_the_volume(finished: tuple[Path, str], tmp_path: Path) -> None:
    config, labels = finished
    part = ["volume.roi=[[0,0,0],[400,500,350]]", f"output.path={tmp_path / 'part.zarr'}"]
    run(load_config(config, part))
    corners = ("3,4,5", "25,40,45")
    _, result = sweep(load_config(config, part), labels, [0.5], *corners)
    scores = compare(str(tmp_path / "part.zarr" / "segmentation"), labels, *corners)
    assert result.best.voi_sum == pytest.approx(scores.voi_sum, abs=1e-9)
    assert result.best.adapted_rand_error == pytest.approx(scores.adapted_rand_error, abs=1e-9)


@pytest.mark.parametrize("leaf", [2, 8])
def test_does_not_depend_on_the_octree(finished: tuple[Path, str], tmp_path: Path, leaf: int) -> None:
    config, labels = finished
    changed = [f"agglomerate.leaf_blocks={leaf}", f"output.path={tmp_path / 'out.zarr'}"]
    run(load_config(config, changed))
    thresholds = steps(0, 1, 0.05)
    assert (
        sweep(load_config(config, changed), labels, thresholds)[1] == sweep(load_config(config), labels, thresholds)[1]
    )


def test_json_and_picture(finished: tuple[Path, str], tmp_path: Path, command) -> None:
    config, labels = finished
    code, out, _ = command(
        "sweep", config, labels, "--json", "--from", 0.1, "--to", 0.9, "--step", 0.1, "--png", tmp_path / "c.png"
    )
    document = json.loads(out)
    assert code == 0
    assert [p["threshold"] for p in document["curve"]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert document["best"] == min(document["curve"], key=lambda p: p["voi_sum"])
    assert set(document["best"]) == {"threshold", "voi_split", "voi_merge", "voi_sum", "adapted_rand_error"}
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = command("sweep", config, labels, "--threshold", 0.5, "--threshold", 0.25)
    assert code == 0 and "best threshold" in out and (state_of(config.parent / "out.zarr") / "sweep.png").exists()


def test_refusals(finished: tuple[Path, str], tmp_path: Path, command) -> None:
    config, labels = finished
    empty = ("--set", f"output.path={tmp_path / 'none.zarr'}")
    elsewhere = write_volume(tmp_path / "far.zarr", np.ones((5, 5, 5), np.uint8), dict(ATTRIBUTES, offset=[9000, 0, 0]))
    blank = write_volume(tmp_path / "blank.zarr", np.zeros(SHAPE, np.uint8))
    for arguments, word in (
        ((config, labels, *empty), "run run_predict.py"),
        ((config, labels, "--set", "agglomerate.leaf_blocks=2"), "--redo agglomerate"),
        ((config, labels, "--threshold", 1.5), "[0, 1]"),
        ((config, labels, "--step", 0), "--step"),
        ((config, labels, "--step", 1e-9), "--step"),
        ((config, labels, "--begin", "1,2"), "--begin"),
        ((config, "/nowhere"), "LABELS"),
        ((config, elsewhere), "overlap"),
        ((config, blank), "label"),
    ):
        code, out, text = command("sweep", *arguments)
        assert code == 2 and word in text and "expected" in text and not out, text
    assert not (tmp_path / "none.zarr").exists()


def test_unfinished_agglomeration_is_refused(finished: tuple[Path, str], tmp_path: Path, command) -> None:
    config, labels = finished
    out = f"output.path={tmp_path / 'out.zarr'}"
    run(load_config(config, [out]), ("predict",))
    code, _, text = command("sweep", config, labels, "--set", out)
    assert code == 2 and "fragments" in text and "fgnet run" in text
    run(load_config(config, [out, "volume.roi=[[0,0,0],[400,500,350]]"]))
    code, _, text = command("sweep", config, labels, "--set", out)
    assert code == 2 and "missing" in text, "finished for a smaller region is not finished"


@given(st.lists(st.floats(0, 5), min_size=1, max_size=12))
@settings(deadline=None, max_examples=100)
def test_summary(sums: list[float]) -> None:
    curve = [Point(i / 20, s, 0.0, s, 0.5) for i, s in enumerate(sums)]
    result = summarise(curve)
    assert result.best.voi_sum == min(sums)
    inside = [p for p in curve if result.plateau[0] <= p.threshold <= result.plateau[1]]
    assert result.best in inside
    assert all(p.voi_sum <= (1 + PLATEAU_SHARE) * min(sums) for p in inside)
    for neighbour in (curve.index(inside[0]) - 1, curve.index(inside[-1]) + 1):
        if 0 <= neighbour < len(curve):
            assert curve[neighbour].voi_sum > (1 + PLATEAU_SHARE) * min(sums), "the plateau is as wide as it can be"


def test_steps_are_decimals() -> None:
    assert steps(0, 0.3, 0.1) == [0.0, 0.1, 0.2, 0.3]
    assert len(steps(0, 1, 0.01)) == 101
    with pytest.raises(InputError):
        steps(0.5, 0.1, 0.1)
