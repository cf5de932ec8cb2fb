"""What `benchmarks/predict_stage.py` measures, on a tiny volume, and what it makes of samples of a GPU."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import zarr
from pipeline_tools import CHECKOUT, cells, write_volume
from tiny_network import write_checkpoint

SIDE = 32


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module; it imports one that lies beside it."""
    sys.path.insert(0, str(CHECKOUT / "benchmarks"))
    try:
        return importlib.import_module("predict_stage")
    finally:
        sys.path.remove(str(CHECKOUT / "benchmarks"))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> argparse.Namespace:
    """Blocks of 32 voxels of a sample that is a little larger, and the identity network, without worker processes."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "fib25_teacher.zarr").mkdir()
    write_volume(folder / "fib25_teacher.zarr" / "raw", cells((40, 40, 40)))
    (folder / "out").mkdir()
    values = {"data": folder, "out": folder / "out", "model": "identity", "mode": "exact", "device": "cpu"}
    config = CHECKOUT / "configs" / "fib25_nano.toml"
    return argparse.Namespace(block=SIDE, workers=0, set=[], config=config, tiles=1, **values)


@pytest.fixture(scope="module")
def raw(script: ModuleType, options: argparse.Namespace) -> Path:
    """The volume of two blocks."""
    found: Path = script.stored_volume(options, (SIDE, SIDE, 2 * SIDE))
    return found


def test_a_volume_is_the_smallest_of_whole_blocks_that_is_no_long_bar(script: ModuleType) -> None:
    assert script.volume_shape(820e6, 216) == (3 * 216, 5 * 216, 6 * 216)
    assert script.volume_shape(5.9e6, 144) == (144, 144, 288)
    assert script.volume_shape(1, 64) == (64, 64, 64)


def test_the_volume_is_the_sample_mirrored(script: ModuleType, options: argparse.Namespace, raw: Path) -> None:
    array: Any = zarr.open_array(raw, mode="r")
    mirrored = np.pad(cells((40, 40, 40)), (0, 40), mode="reflect")[:SIDE, :SIDE, : 2 * SIDE]
    np.testing.assert_array_equal(array[:], mirrored)
    assert array.shards == (SIDE,) * 3 and array.attrs["voxel_size"] == [10, 10, 10]
    inode = raw.stat().st_ino
    assert script.stored_volume(options, array.shape).stat().st_ino == inode, "it is not made again"


def test_the_stage_is_the_command_and_its_records(script: ModuleType, options: argparse.Namespace, raw: Path) -> None:
    row = script.stage(options, raw)
    assert (row["blocks"], row["voxels"]) == (2, 2 * SIDE**3)
    assert 0 < row["first_block_begun"] < row["first_block_begun"] + row["stage_seconds"] < row["command_seconds"]
    assert [path.name for path in options.out.iterdir()] == [raw.name], "the output is removed"


def test_a_column_has_sections_that_all_differ(script: ModuleType, raw: Path) -> None:
    array: Any = zarr.open_array(raw, mode="r")
    column = script.column(raw, (16, 16, 16), 3 * SIDE)
    np.testing.assert_array_equal(column[:SIDE], array[:, 8:24, 24:40])
    assert len({section.tobytes() for section in column}) == 3 * SIDE


def test_kernels_are_measured_in_turns(
    script: ModuleType, options: argparse.Namespace, raw: Path, tmp_path: Path
) -> None:
    network = argparse.Namespace(**{**vars(options), "model": str(write_checkpoint(tmp_path))})
    row = script.kernels(network, raw)
    assert row["tiles"] == 1
    assert {name: len(seconds) for name, seconds in row["seconds_per_tile"].items()} == {"bare": 3, "predictor": 3}
    assert all(second > 0 for seconds in row["seconds_per_tile"].values() for second in seconds)


def test_finished_parts_are_not_measured_again_and_make_the_table(
    script: ModuleType,
    options: argparse.Namespace,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("model", "mode", "device", "block", "workers", "set")
    settings = {name: getattr(options, name) for name in names} | {"shape": [SIDE, SIDE, 2 * SIDE]}
    kernels = {"seconds_per_tile": {"bare": [9, 0.5, 0.25], "predictor": [0.75, 0.5, 9]}, "card": "X", "torch": "2"}
    stage = {"voxels": 2_000_000, "stage_seconds": 100, "command_seconds": 125, "first_block_begun": 4}
    stage |= {"joules": 8, "worst_window": {"idle": 0.125, "at_zero": 0}}
    rows = {"warm-up": {"first_block_begun": 20}, "stage": stage, "kernels": kernels}
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps({"part": k, "settings": settings} | row) + "\n" for k, row in rows.items()))
    words = ["--data", options.data, "--out", options.out, "--json", file, "--model", "identity", "--mvoxel", 0.06]
    words += ["--block", SIDE, "--workers", 0]
    monkeypatch.setattr(sys, "argv", ["predict_stage.py", *map(str, words)])
    script.main()
    title, _, *rows_printed = capsys.readouterr().out.splitlines()
    assert title == "| identity, exact, 32x32x64, 0 workers, X, torch 2 | |"
    table = dict(line.strip("| ").split(" | ") for line in rows_printed)
    tiles, per_tile = script.tiles_of(options, (SIDE, SIDE, 2 * SIDE))
    assert table["bare kernels, Mvoxel/s"] == f"{per_tile / 0.5 / 1e6:.3f}"
    assert table["predictor over bare kernels"] == "1.50"
    assert table["stage from the first block begun to the last one finished, Mvoxel/s"] == "0.020"
    assert table["whole command, Mvoxel/s"] == "0.016"
    assert table[f"stage over bare kernels ({tiles} tiles)"] == f"{100 / (tiles * 0.5):.2f}"
    assert (table["first block begun, s"], table["first block begun in the run before, s"]) == ("4.0", "20.0")
    assert table["card idle in the worst 20 s"] == "12.5%; 0.0% of the samples at 0"
    assert table["energy of the stage, microjoule/voxel"] == "4.0"


def test_the_worst_window_and_the_energy_of_samples(script: ModuleType) -> None:
    gpu = importlib.import_module("gpu_samples")
    # Busy for 30 s, then idle for 10 s, then busy; 200 W throughout.
    samples = [gpu.Sample(t / 5, 0 if 150 <= t < 200 else 100, 40.0 * t) for t in range(301)]
    assert gpu.idle_in_worst_window(samples, 0, 60) == pytest.approx({"idle": 50 / 101, "at_zero": 50 / 101})
    assert gpu.idle_in_worst_window(samples, 0, 29) == {"idle": 0, "at_zero": 0}
    assert gpu.idle_in_worst_window(samples, 25, 35) == pytest.approx({"idle": 26 / 51, "at_zero": 26 / 51})
    assert gpu.idle_in_worst_window([], 0, 60) == {}
    assert gpu.joules_between(samples, 10.1, 20.1) == pytest.approx(2000)
    assert gpu.joules_between(samples, 10, 70) is None, "the counter was not read at the end"
