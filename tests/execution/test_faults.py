"""Real kills of real runs: nothing finished is repeated, and the result is that of an undisturbed run."""

from __future__ import annotations

import os
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
    records,
    run_on_cells,
    standard_config,
    state_of,
    wait_for_records,
)

from fgnet_pipeline.execution.run import PREDICT, run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after

BLOCK, BLOCKS = [16, 16, 16], 3 * 3 * 4
PATIENCE = 120.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run on 36 blocks, which give time to interfere, that nobody disturbed."""
    return run_on_cells(tmp_path_factory.mktemp("undisturbed"), (48, 48, 64), seed=3, block_shape=BLOCK)


def configured(folder: Path, undisturbed: Path) -> Path:
    return standard_config(folder, str(undisturbed / "raw.zarr"), block_shape=BLOCK)


def start(name: str, config: Path, workers: int = 2) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(CHECKOUT / "workflows" / name), str(config), "--workers", str(workers)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished_once(out: Path, stage: str, before: list[dict]) -> bool:
    after = [tuple(r["block"]) for r in records(out, stage)]
    return all(after.count(tuple(r["block"])) == 1 for r in before)


@pytest.mark.parametrize("name, stage, count", [("run_predict.py", "predict", 5), ("run_agglomerate.py", "edges", 3)])
def test_a_run_after_a_killed_driver_repeats_no_finished_block(
    undisturbed: Path, tmp_path: Path, command: Command, name: str, stage: str, count: int
) -> None:
    config, out = configured(tmp_path, undisturbed), tmp_path / "out.zarr"
    if name == "run_agglomerate.py":
        run(load_config(config), PREDICT)
    process = start(name, config)
    wait_for_records(out, stage, count, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # At once: workers of the dead driver may still be finishing a block.
    before = records(out, stage)
    code, _, said = command(name.removeprefix("run_").removesuffix(".py"), config, "--workers", 2)
    assert code == 0, said
    assert finished_once(out, stage, before)
    assert len(records(out, stage)) >= BLOCKS
    run(load_config(config), stages_after("predict"))
    assert_same_output(undisturbed / "out.zarr", out)


def test_a_run_with_killed_workers_ends_as_an_undisturbed_one(undisturbed: Path, tmp_path: Path) -> None:
    config, out = configured(tmp_path, undisturbed), tmp_path / "out.zarr"
    process = start("run_predict.py", config)
    killed: set[int] = set()
    for count in (2, 8, 15):
        wait_for_records(out, "predict", count, process)
        files = sorted((state_of(out) / "progress" / "predict").glob("done-*-*.jsonl"), key=lambda p: p.stat().st_mtime)
        pids = [int(path.stem.rsplit("-", 2)[1]) for path in files]
        alive = [pid for pid in pids if pid not in killed and Path(f"/proc/{pid}").exists()]
        if alive:
            killed.add(alive[-1])
            os.kill(alive[-1], signal.SIGKILL)
    assert process.wait(PATIENCE) == 0
    assert killed
    run(load_config(config), stages_after("predict"))
    assert_same_output(undisturbed / "out.zarr", out)


def test_a_second_driver_is_refused_while_the_first_runs(undisturbed: Path, tmp_path: Path, refused: Refused) -> None:
    config, out = configured(tmp_path, undisturbed), tmp_path / "out.zarr"
    process = start("run_predict.py", config)
    wait_for_records(out, "predict", 1, process)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        sentence = refused("predict", config)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert "no other run on it" in sentence
    assert process.wait(PATIENCE) == 0


def test_a_torn_last_record_is_passed_over(undisturbed: Path, tmp_path: Path) -> None:
    config, out = configured(tmp_path, undisturbed), tmp_path / "out.zarr"
    run(load_config(config))
    path = next((state_of(out) / "progress" / "edges").glob("done-*.jsonl"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 30])
    run(load_config(config))
    assert len(records_with_torn(path)) == BLOCKS - 1
    assert_same_output(undisturbed / "out.zarr", out)


def records_with_torn(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if line.endswith(b"}")]


def test_an_interrupted_change_of_threshold_is_not_taken_for_the_old_state(undisturbed: Path, tmp_path: Path) -> None:
    config, out = configured(tmp_path, undisturbed), tmp_path / "out.zarr"
    run(load_config(config))
    process = start("run_agglomerate.py", changed(config))
    wait_for_records(out, "relabel", BLOCKS + 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(load_config(config), stages_after("predict"))
    assert_same_output(undisturbed / "out.zarr", out)


def changed(config: Path) -> Path:
    other = config.with_name("changed.toml")
    other.write_text(config.read_text().replace("[agglomerate]", "[agglomerate]\nthreshold = 0.95"))
    return other


def test_an_output_that_cannot_be_made_is_one_sentence(undisturbed: Path, tmp_path: Path, refused: Refused) -> None:
    config = configured(tmp_path, undisturbed)
    (tmp_path / "file").write_text("not a folder")
    assert "output.path" in refused("predict", config, "--set", f"output.path={tmp_path / 'file' / 'out.zarr'}")


def test_failed_blocks_are_named_with_error_and_log(undisturbed: Path, tmp_path: Path, command: Command) -> None:
    config, out = configured(tmp_path, undisturbed), tmp_path / "out.zarr"
    run(load_config(config), PREDICT)
    (out / "affinities" / "c" / "0" / "1" / "1" / "1").write_bytes(b"damage")
    code, _, text = command("agglomerate", config, "--workers", 2)
    assert code == 1
    assert "fragments: " in text and "  block [" in text and "not begun" in text
    log = text.split("log: ")[1].split(")")[0]
    assert "checksum do not match" in Path(log).read_text()
