"""A stage of another distribution, by one file: planned, run, killed, resumed, watched, verified as any other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_tools import CHECKOUT, cells, fgnet, files_of, records, standard_config, wait_for_records, write_volume
from toy_stage import SOURCE, assert_outlines, install_toy_stage

BLOCKS = 3 * 2 * 2


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which the toy stage is installed."""
    return install_toy_stage(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    raw = write_volume(tmp_path / "raw.zarr", cells((48, 32, 32), seed=5))
    return standard_config(tmp_path, raw, block_shape=[16, 16, 16])


def test_the_file_is_short() -> None:
    assert len((SOURCE / "toy_outlines.py").read_text().splitlines()) <= 120


def test_it_is_there_only_if_installed(config: Path, environment: dict[str, str]) -> None:
    key = ("--set", "schedule.outlines.block_shape=[16,32,32]")
    refused = fgnet("run", config, "--dry-run", *key, check=False)
    assert refused.returncode == 2 and "schedule.outlines" in refused.stderr
    shown = fgnet("run", config, "--dry-run", *key, env=environment).stdout
    assert "outlines       3 of 3 blocks of 16x32x32 voxels" in shown


@pytest.mark.parametrize("workers", [0, 2])
def test_from_plan_to_verify(config: Path, environment: dict[str, str], workers: int) -> None:
    out = config.parent / "out.zarr"
    plan = json.loads(fgnet("plan", config, "--json", env=environment).stdout)
    mine = next(stage for stage in plan["stages"] if stage["task"] == "outlines")
    assert (mine["blocks"], mine["left"], mine["read_shape"]) == (BLOCKS, BLOCKS, [18, 18, 18])
    assert {"outlines"} <= {array["name"] for array in plan["arrays"]} & {table["stage"] for table in plan["tables"]}

    fgnet("run", config, "--workers", workers, env=environment)
    assert_outlines(out)
    status = json.loads(fgnet("status", config, "--json", env=environment).stdout)
    assert [s["done"] for s in status["stages"] if s["stage"] == "outlines"] == [BLOCKS]
    verified = json.loads(fgnet("verify", config, "--json", env=environment).stdout)
    assert verified["ok"] and verified["checked"]["outlines"] == {
        "blocks": BLOCKS,
        "read": BLOCKS,
        "left": 0,
        "stale": 0,
    }

    assert "outlines 0 of 12" in fgnet("run", config, env=environment).stderr
    again = fgnet("run", config, "--redo", "outlines", env=environment)
    assert "relabel 0 of 12, outlines 12 of 12" in again.stderr


def test_killed_and_resumed(config: Path, environment: dict[str, str]) -> None:
    out = config.parent / "out.zarr"
    command = [sys.executable, str(CHECKOUT / "workflows" / "run_agglomerate.py"), str(config), "--workers", "2"]
    fgnet("predict", config, env=environment)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_records(out, "outlines", 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = [tuple(record["block"]) for record in records(out, "outlines")]
    fgnet("run", config, env=environment)
    after = [tuple(record["block"]) for record in records(out, "outlines")]
    assert all(after.count(block) == 1 for block in before) and len(set(after)) == BLOCKS
    assert_outlines(out)


def test_verify_finds_its_damage_and_a_run_makes_it_again(config: Path, environment: dict[str, str]) -> None:
    out = config.parent / "out.zarr"
    fgnet("run", config, "--workers", 0, env=environment)
    stored = {name: files_of(out, name) for name in ("outlines", "tables")}
    shard = next(path for path in sorted((out / "outlines" / "c").rglob("*")) if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-20])
    table = out / "tables" / "outlines" / "1" / "1" / "1.parquet"
    table.unlink()
    found = fgnet("verify", config, "--repair", "--json", env=environment, check=False)
    kinds = {(f["task"], f["kind"]) for f in json.loads(found.stdout)["damage"]}
    assert found.returncode == 1 and kinds == {("outlines", "undecodable"), ("outlines", "missing")}
    assert "outlines 2 of 12" in fgnet("run", config, "--workers", 0, env=environment).stderr
    assert stored == {name: files_of(out, name) for name in ("outlines", "tables")}


def test_a_smaller_region_grows(config: Path, environment: dict[str, str]) -> None:
    roi = ("--set", "volume.roi=[[0,0,0],[160,320,320]]")
    fgnet("run", config, "--workers", 0, *roi, env=environment)
    fgnet("run", config, "--workers", 0, env=environment)
    assert_outlines(config.parent / "out.zarr")
