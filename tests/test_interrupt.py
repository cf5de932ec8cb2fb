"""Ctrl-C, as a terminal sends it to all processes of a run: one sentence, no worker left behind, and it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline_tools import assert_same_output, cells, records, standard_config, write_volume

from fgnet_pipeline.config import load_config
from fgnet_pipeline.run import run

PATIENCE = 240.0


def test_interrupt(tmp_path: Path) -> None:
    raw = write_volume(tmp_path / "raw.zarr", cells((48, 48, 48), seed=3))
    config, out = standard_config(tmp_path, raw, block_shape=[16, 16, 16]), tmp_path / "out.zarr"
    places = set(Path("/tmp").glob("fgnet-*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "fgnet_pipeline", "run", str(config), "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    give_up = time.monotonic() + PATIENCE
    while not records(out, "predict") and process.poll() is None:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert process.poll() is None
    before = records(out, "predict")
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[1:] == ["interrupted: run the same command again to go on"], stderr
    assert stderr.startswith("blocks to do: ")
    while set(members_of(process.pid)) - {process.pid}:  # the fork server ends by itself, once its driver is gone
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert set(Path("/tmp").glob("fgnet-*")) <= places
    run(load_config(config, ["schedule.workers=0"]))
    after = [tuple(r["block"]) for r in records(out, "predict")]
    assert all(after.count(tuple(r["block"])) == 1 for r in before)
    run(load_config(config, ["schedule.workers=0", f"output.path={tmp_path / 'whole.zarr'}"]))
    assert_same_output(tmp_path / "whole.zarr", out)


def members_of(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def test_native_output_goes_to_the_log(tmp_path: Path) -> None:
    """What native code writes is kept apart; what Python prints is not; both are as before afterwards."""
    body = """
import os, sys
from pathlib import Path
from fgnet_pipeline.interrupt import native_output_to
for path in sys.argv[1:]:
    with native_output_to(Path(path)):
        os.write(2, b"native\\n")
        print("python", file=sys.stderr)
    os.write(2, b"after\\n")
    print("after", file=sys.stderr)
"""
    log, nowhere = tmp_path / "logs" / "daisy.log", tmp_path / "file" / "daisy.log"
    nowhere.parent.write_text("no folder")
    command = [sys.executable, "-c", body, str(log), str(nowhere)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stderr.split() == ["python", "after", "after"] * 2
    assert log.read_text() == "native\n"
