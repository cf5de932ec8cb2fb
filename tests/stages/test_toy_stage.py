"""A stage of another distribution, by one file: planned, run, killed, resumed, watched, verified as any other."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_tools import (
    CHECKOUT,
    Command,
    Refused,
    assert_same_output,
    files_of,
    records,
    standard_config,
    state_of,
    wait_for_records,
)
from toy_stage import BLOCK, BLOCKS, SOURCE, assert_outlines, write_after_prediction

BLOCK_SHAPE = ("--set", "schedule.outlines.block_shape=[16,32,32]")


@pytest.fixture
def copied(toy_run: Path, toy_here: None, tmp_path: Path) -> Path:
    """Configuration of a copy of `toy_run`, beside out.zarr; the toy is installed in this process."""
    shutil.copytree(toy_run / "out.zarr", tmp_path / "out.zarr")
    return standard_config(tmp_path, str(toy_run / "raw.zarr"), block_shape=BLOCK)


def test_the_file_is_short() -> None:
    assert len((SOURCE / "toy_outlines.py").read_text().splitlines()) <= 120


def test_it_is_unknown_if_it_is_not_installed(affinities: Path, tmp_path: Path, refused: Refused) -> None:
    config = write_after_prediction(tmp_path, affinities)
    assert "schedule.outlines" in refused("run", config, "--dry-run", *BLOCK_SHAPE)


def test_a_run_counts_its_blocks_if_it_is_installed(
    affinities: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    config = write_after_prediction(tmp_path, affinities)
    _, shown, _ = command("run", config, "--dry-run", *BLOCK_SHAPE)
    assert "outlines       3 of 3 blocks of 16x32x32 voxels" in shown


def test_a_plan_knows_its_blocks_array_and_tables(
    affinities: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    plan = json.loads(command("plan", write_after_prediction(tmp_path, affinities), "--json")[1])
    mine = next(stage for stage in plan["stages"] if stage["task"] == "outlines")
    assert (mine["blocks"], mine["left"], mine["read_shape"]) == (BLOCKS, BLOCKS, [18, 18, 18])
    assert {"outlines"} <= {array["name"] for array in plan["arrays"]} & {table["stage"] for table in plan["tables"]}


def test_workers_make_what_it_must_make(toy_run: Path) -> None:
    assert_outlines(toy_run / "out.zarr")


def test_a_serial_run_makes_the_bytes_that_workers_make(
    toy_run: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    config = standard_config(tmp_path, str(toy_run / "raw.zarr"), block_shape=BLOCK)
    code, _, text = command("run", config)
    assert code == 0, text
    assert_same_output(toy_run / "out.zarr", tmp_path / "out.zarr", ("outlines", "segmentation", "tables"))


def test_status_counts_its_blocks(copied: Path, command: Command) -> None:
    status = json.loads(command("status", copied, "--json")[1])
    assert [s["done"] for s in status["stages"] if s["stage"] == "outlines"] == [BLOCKS]


def test_verify_reads_back_what_it_wrote(toy_run: Path, toy_here: None, command: Command) -> None:
    code, said, told = command("verify", toy_run / "config.toml", "--json")
    assert code == 0, told
    verified = json.loads(said)
    assert verified["ok"]
    assert verified["checked"]["outlines"] == {"blocks": BLOCKS, "read": BLOCKS, "left": 0, "stale": 0}


def test_a_second_run_and_a_redo_do_as_much_as_they_must(copied: Path, command: Command) -> None:
    assert "outlines 0 of 12" in command("run", copied)[2]
    assert "relabel 0 of 12, outlines 12 of 12" in command("run", copied, "--redo", "outlines")[2]


def test_a_run_after_a_kill_repeats_no_finished_block(
    affinities: Path, tmp_path: Path, environment: dict[str, str], toy_here: None, command: Command
) -> None:
    config, out = write_after_prediction(tmp_path, affinities), tmp_path / "out.zarr"
    script = [sys.executable, str(CHECKOUT / "workflows" / "run_agglomerate.py"), str(config), "--workers", "2"]
    process = subprocess.Popen(script, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_records(out, "outlines", 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = [tuple(record["block"]) for record in records(out, "outlines")]
    code, _, said = command("run", config)
    assert code == 0, said
    after = [tuple(record["block"]) for record in records(out, "outlines")]
    assert all(after.count(block) == 1 for block in before) and len(set(after)) == BLOCKS
    assert_outlines(out)


def test_verify_finds_its_damage_and_a_run_makes_it_again(copied: Path, command: Command) -> None:
    out = copied.parent / "out.zarr"
    stored = {name: files_of(out, name) for name in ("outlines", "tables")}
    shard = next(path for path in sorted((out / "outlines" / "c").rglob("*")) if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-20])
    (state_of(out) / "tables" / "outlines" / "1" / "1" / "1.parquet").unlink()
    code, found, _ = command("verify", copied, "--repair", "--json")
    kinds = {(f["task"], f["kind"]) for f in json.loads(found)["damage"]}
    assert code == 1 and kinds == {("outlines", "undecodable"), ("outlines", "missing")}
    assert "outlines 2 of 12" in command("run", copied)[2]
    assert stored == {name: files_of(out, name) for name in ("outlines", "tables")}


def test_a_smaller_region_grows(affinities: Path, tmp_path: Path, toy_here: None, command: Command) -> None:
    config = write_after_prediction(tmp_path, affinities)
    for region in (("--set", "volume.roi=[[0,0,0],[160,320,320]]"), ()):
        code, _, text = command("run", config, *region)
        assert code == 0, text
    assert_outlines(tmp_path / "out.zarr")
