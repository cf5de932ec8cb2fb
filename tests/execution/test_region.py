"""Regions of which nothing good follows are refused, and what a run is about to do is said first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import ATTRIBUTES, Command, Refused, read, records, standard_config, write_volume

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

COMMANDS = [("run",), ("run", "--dry-run"), ("predict",), ("plan",), ("submit", "--dry-run"), ("submit",)]


def masked(folder: Path, tissue: np.ndarray, offset: list[float]) -> list[str]:
    path = write_volume(folder / "mask.zarr", tissue, dict(ATTRIBUTES, offset=offset))
    return ["--set", f"volume.mask={path}"]


@pytest.mark.parametrize("call", COMMANDS, ids=" ".join)
def test_a_mask_without_tissue_is_refused(
    small_raw: str, tmp_path: Path, refused: Refused, call: tuple[str, ...]
) -> None:
    config = standard_config(tmp_path, small_raw, workers=1)
    name, *flags = call
    text = refused(name, config, *flags, *masked(tmp_path, np.zeros((30, 30, 30), np.uint8), [0, 0, 0]))
    assert "volume.mask" in text and "are empty" in text and not (tmp_path / "out.zarr").exists()


def test_a_mask_elsewhere_is_refused(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    config = standard_config(tmp_path, small_raw)
    text = refused("run", config, *masked(tmp_path, np.ones((30, 30, 30), np.uint8), [0, 0, 300]))
    assert "the mask covers [0, 0, 300] to [300, 300, 600] nm, the region [0, 0, 0] to [300, 300, 300]" in text


def test_a_region_without_tissue_is_refused(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    tissue = np.zeros((30, 30, 30), np.uint8)
    tissue[:, :, :8] = 1
    options = masked(tmp_path, tissue, [0, 0, 0])
    config = standard_config(tmp_path, small_raw)
    region = ["--set", "volume.roi=[[0,0,100],[300,300,300]]"]
    assert "volume.mask" in refused("run", config, *options, *region)
    run(load_config(config, options[1::2]))
    assert len(records(tmp_path / "out.zarr", "predict")) == 4


SHORT = ("--set", "volume.roi=[[0,0,0],[300,300,120]]")


@pytest.mark.parametrize("call", COMMANDS, ids=" ".join)
def test_a_region_shorter_than_the_context_needs_yes(
    small_raw: str, tmp_path: Path, refused: Refused, command: Command, call: tuple[str, ...]
) -> None:
    """The context of the model `identity` is 13 voxels: tiles of 16, margins of 2."""
    config = standard_config(tmp_path, small_raw, workers=1)
    name, *flags = call
    text = refused(name, config, *flags, *SHORT)
    assert "12 along x (context 13)" in text and "--yes" in text and "[0, 0, 0] to [300, 300, 120] nm" in text
    assert not (tmp_path / "out.zarr").exists()
    if "run" in call[:1] or name == "plan":
        flags = ["--dry-run"] if name == "run" else []
        code, out, err = command(name, config, *flags, *SHORT, "--yes")
        assert code == 0, err
        assert "region: 30 x 30 x 12 voxels" in out + err


def test_a_region_as_long_as_the_context_or_as_the_volume_runs(
    tmp_path: Path, small_raw: str, command: Command
) -> None:
    for extent in ("130", "300"):
        config = standard_config(tmp_path, small_raw)
        assert command("run", config, "--dry-run", "--set", f"volume.roi=[[0,0,0],[300,300,{extent}]]")[0] == 0
    thin = write_volume(tmp_path / "thin.zarr", np.asarray(read(small_raw, ""))[:5])
    config = standard_config(tmp_path, thin)
    assert command("run", config, "--dry-run", "--set", "volume.roi=[[0,0,0],[50,300,300]]")[0] == 0
    assert command("run", config, "--dry-run", "--set", "volume.roi=[[0,0,0],[20,300,300]]")[0] == 2


def test_yes_runs_a_short_region(small_raw: str, tmp_path: Path, command: Command) -> None:
    config = standard_config(tmp_path, small_raw)
    code, _, text = command("run", config, *SHORT, "--yes")
    assert code == 0 and (read(tmp_path / "out.zarr", "segmentation")[:, :, :12] > 0).any()
    assert "region: 30 x 30 x 12 voxels (z, y, x), of a volume of 30 x 30 x 30" in text
    assert "voxels [0, 0, 0] to [30, 30, 12], [0, 0, 0] to [300, 300, 120] nm" in text


def test_plan_states_the_region_in_voxels_and_nm(small_raw: str, tmp_path: Path, command: Command) -> None:
    config = standard_config(tmp_path, small_raw)
    placed = ["--set", "volume.offset=[1000,0,20]", "--set", "volume.roi=[[1000,0,20],[1200,300,195]]"]
    found = json.loads(command("plan", config, *placed, "--json")[1])["region"]
    assert found["voxels"] == [[0, 0, 0], [20, 30, 18]] and found["shape"] == [20, 30, 18]
    assert found["nm"] == [[1000, 0, 20], [1200, 300, 200]]
    assert found["sentence"] in command("plan", config, *placed)[1]


def test_a_result_without_segments_is_called_that(tmp_path: Path, small_raw: str, command: Command) -> None:
    fragments = write_volume(tmp_path / "f.zarr", np.zeros((30, 30, 30), np.uint64))
    code, _, text = command("run", standard_config(tmp_path, small_raw), "--set", f"fragments.path={fragments}")
    assert code == 0 and not read(tmp_path / "out.zarr", "segmentation").any()
    assert "warning: the segmentation holds no segment" in text


def test_a_run_says_first_what_has_changed(copied_run: tuple[Path, Path], command: Command) -> None:
    config, out = copied_run
    before = read(out, "segmentation")
    said = "agglomerate.threshold was 0.5 and is now 0.9"
    text = command("run", config, "--set", "agglomerate.threshold=0.9")[2]
    assert said in text and text.index(said) < text.index("blocks to do")
    changed = read(out, "segmentation")
    assert not np.array_equal(before, changed)
    back = "agglomerate.threshold was 0.9 and is now 0.5"
    status = json.loads(command("status", config, "--json")[1])
    assert status["changed"] == [back] and back in command("status", config)[1]
    assert back in command("run", config, "--dry-run")[1]
    assert back in json.dumps(json.loads(command("plan", config, "--json")[1])["warnings"])
    assert np.array_equal(read(out, "segmentation"), changed)
    text = command("run", config)[2]
    assert back in text and text.index(back) < text.index("blocks to do")
    assert np.array_equal(read(out, "segmentation"), before)
    assert "differs" not in command("run", config)[2]
    assert json.loads(command("status", config, "--json")[1])["changed"] == []


def test_a_threshold_that_no_run_has_used_does_not_count(copied_run: tuple[Path, Path], command: Command) -> None:
    config, _ = copied_run
    assert command("predict", config, "--set", "agglomerate.threshold=0.9")[0] == 0
    assert json.loads(command("status", config, "--json")[1])["changed"] == []


def test_another_region_is_said(copied_run: tuple[Path, Path], command: Command) -> None:
    text = command("run", copied_run[0], "--dry-run", "--set", "volume.roi=[[0,0,0],[400,500,400]]")[1]
    assert "volume.roi was not set and is now [[0.0, 0.0, 0.0], [400.0, 500.0, 400.0]]" in text
