"""A second run does what is left and nothing else, if settings, files or the region changed in between, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import (
    ATTRIBUTES,
    Command,
    assert_same_output,
    cells,
    files_of,
    read,
    records,
    standard_config,
    state_of,
    write_volume,
)

from fgnet_pipeline.execution.resume import REDO_FILE
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

SHAPE = (50, 60, 70)


def test_a_second_run_does_nothing(raw: str, copied: Path) -> None:
    before = {s: len(records(copied, s)) for s in ("predict", "fragments", "edges", "relabel")}
    files = files_of(copied, "segmentation")
    run(load_config(standard_config(copied.parent, raw)))
    assert before == {s: len(records(copied, s)) for s in before}
    assert files == files_of(copied, "segmentation")


def test_another_threshold_redoes_lut_and_relabelling_only(raw: str, copied: Path, command: Command) -> None:
    config = standard_config(copied.parent, raw)
    first = read(copied, "segmentation")
    code, _, said = command("agglomerate", config, "--set", "agglomerate.threshold=0.9")
    assert code == 0, said
    assert len(records(copied, "fragments")) == len(records(copied, "edges")) == 27
    assert len(records(copied, "relabel")) == 2 * 27
    assert len(np.unique(read(copied, "segmentation"))) > len(np.unique(first))
    run(load_config(config))
    assert np.array_equal(read(copied, "segmentation"), first)


def test_a_grown_region_equals_a_run_from_scratch(raw: str, reference: Path, tmp_path: Path) -> None:
    config = standard_config(tmp_path, raw)
    small = "volume.roi=[[0,0,0],[300,350,700]]"
    run(load_config(config, [small]))
    out = tmp_path / "out.zarr"
    kept = files_of(out, "fragments")["c/0/0/0"]
    assert (read(out, "segmentation")[30:] == 0).all()
    run(load_config(config))
    assert_same_output(reference, out)
    assert files_of(out, "fragments")["c/0/0/0"] == kept
    per_block: dict[tuple, int] = {}
    for record in records(out, "predict"):
        per_block[tuple(record["block"])] = per_block.get(tuple(record["block"]), 0) + 1
    assert per_block[0, 0, 0] == 1, "a block that the growth does not touch is not redone"
    assert per_block[1, 1, 0] == 2, "a block that the old region cut is redone"


def test_a_mask_that_shrinks_gives_what_it_gives_from_scratch(raw: str, copied: Path, tmp_path: Path) -> None:
    mask = np.zeros((25, 30, 35), np.uint8)
    mask[:, :, :13] = 1
    path = write_volume(tmp_path / "mask.zarr", mask, dict(ATTRIBUTES, voxel_size=[20, 20, 20]))
    config = standard_config(tmp_path, raw)
    masked, fresh = f"volume.mask={path}", f"output.path={tmp_path / 'fresh.zarr'}"
    run(load_config(config, [masked]))
    run(load_config(config, [masked, fresh]))
    for name in ("fragments", "segmentation"):
        assert np.array_equal(read(copied, name), read(tmp_path / "fresh.zarr", name))


def test_agglomeration_refuses_affinities_of_another_volume(
    raw: str, reference: Path, copied: Path, tmp_path: Path, command: Command
) -> None:
    other = write_volume(tmp_path / "other.zarr", cells(SHAPE, seed=5))
    config = standard_config(tmp_path, other)
    code, _, text = command("agglomerate", config)
    assert code == 2 and "predict stage is stale" in text and "volume" in text and "Traceback" not in text
    code, _, text = command("agglomerate", config, "--set", f"volume.path={raw}")
    assert code == 0, text
    assert_same_output(reference, copied)


def test_a_killed_redo_goes_on_where_it_was(raw: str, reference: Path, copied: Path) -> None:
    (state_of(copied) / "progress" / REDO_FILE).write_text('{"stage": "edges"}')
    config = load_config(standard_config(copied.parent, raw))
    run(config, redo="edges")
    assert len(records(copied, "edges")) == 27, "what the killed redo had finished is kept"
    run(config, redo="edges")
    assert len(records(copied, "edges")) == 27 and not (state_of(copied) / "progress" / REDO_FILE).exists()
    newest = max(record["run"] for record in records(copied, "edges"))
    assert all(record["run"] == newest for record in records(copied, "edges"))
    assert_same_output(reference, copied)


def test_a_dry_run_counts_blocks_and_status_tells_what_was_made(raw: str, tmp_path: Path, command: Command) -> None:
    config = standard_config(tmp_path, raw)
    _, planned, _ = command("run", config, "--dry-run")
    assert "27 of 27" in planned and not (tmp_path / "out.zarr").exists()
    assert command("predict", config)[0] == 0
    status = json.loads(command("status", config, "--json")[1])
    stages = {s["stage"]: s for s in status["stages"]}
    assert not status["running"] and status["driver"]["run"] == 1 and status["failures"] == []
    assert (stages["predict"]["done"], stages["predict"]["left"]) == (27, 0)
    made = records(tmp_path / "out.zarr", "predict")
    assert stages["predict"]["voxels_per_second"] > 0
    assert stages["predict"]["seconds_per_block"] == pytest.approx(np.mean([r["seconds"] for r in made]))
    assert stages["predict"]["peak_memory"] == max(r["peak_memory"] for r in made)
    assert stages["predict"]["hosts"] == [made[0]["host"]]
    assert (stages["edges"]["done"], stages["edges"]["left"], stages["edges"]["failed"]) == (0, 27, 0)


def test_a_moved_output_is_not_stale(raw: str, reference: Path, tmp_path: Path) -> None:
    shutil.copytree(reference, tmp_path / "moved.zarr")
    config = standard_config(tmp_path, raw)
    run(load_config(config, [f"output.path={tmp_path / 'moved.zarr'}"]))
    assert len(records(tmp_path / "moved.zarr", "predict")) == 27


def test_a_deleted_array_is_made_again(raw: str, reference: Path, copied: Path) -> None:
    shutil.rmtree(copied / "affinities")
    run(load_config(standard_config(copied.parent, raw)))
    assert_same_output(reference, copied)


def test_a_torn_shard_is_replaced_if_its_stage_is_redone(raw: str, reference: Path, copied: Path) -> None:
    (copied / "fragments" / "c" / "0" / "0" / "0").write_bytes(b"torn")
    run(load_config(standard_config(copied.parent, raw)), redo="fragments")
    assert_same_output(reference, copied)
