"""Exports of graphs to files that were killed: the same command ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_tools import Command, records, wait_for_records


def files(folder: Path, name: str) -> dict[str, bytes]:
    """What an export to NAME has left beside its records: by the part of the name that differs."""
    found = [path for path in folder.iterdir() if name in path.name and not path.name.endswith(".progress")]
    return {path.name.replace(name, ""): path.read_bytes() for path in found}


@pytest.mark.parametrize("name, more", [("edges", ["--compact-ids"]), ("graph", []), ("webknossos", [])])
def test_a_killed_driver(name: str, more: list[str], finished_run: Path, tmp_path: Path, command: Command) -> None:
    output = finished_run / "out.zarr"
    assert command("export", output, name, "--to", tmp_path / "whole.x", "--workers", 0, *more)[0] == 0
    arguments = ["export", output, name, "--to", tmp_path / "killed.x", *more]
    entry = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments)]
    with subprocess.Popen([*entry, "--workers", "2"], stderr=subprocess.DEVNULL) as process:
        wait_for_records(tmp_path / "killed.x.progress", "rag-edges", 1, process)
        process.send_signal(signal.SIGKILL)
    before = records(tmp_path / "killed.x.progress", "rag-edges")
    # What a killed writer leaves: a file that is not complete, and files that it sorted.
    (tmp_path / f".killed.x.{'0' * 32}.partial").write_bytes(b"torn")
    if name == "webknossos":
        (tmp_path / "killed.x.progress" / f".scratch.{'0' * 32}.partial").mkdir()
    assert command(*arguments, "--workers", 0)[0] == 0
    assert files(tmp_path, "killed") == files(tmp_path, "whole")
    after = [tuple(record["block"]) for record in records(tmp_path / "killed.x.progress", "rag-edges")]
    assert before and all(after.count(tuple(record["block"])) == 1 for record in before)
    assert not [path.name for path in tmp_path.rglob("*.partial") if "tables" not in path.parts]


def test_a_killed_worker(finished_run: Path, tmp_path: Path, command: Command) -> None:
    output = finished_run / "out.zarr"
    assert command("export", output, "webknossos", "--to", tmp_path / "whole.x", "--workers", 0)[0] == 0
    arguments = ["export", output, "webknossos", "--to", tmp_path / "killed.x", "--workers", 2]
    entry = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments)]
    with subprocess.Popen(entry, stderr=subprocess.DEVNULL) as process:
        wait_for_records(tmp_path / "killed.x.progress", "rag-nodes", 1, process)
        for log in (tmp_path / "killed.x.progress" / "logs").glob("rag-nodes-*.log"):
            os.kill(int(log.stem.rpartition("-")[2]), signal.SIGKILL)
            break
        process.wait(300)
    assert command(*arguments)[0] == 0
    assert files(tmp_path, "killed") == files(tmp_path, "whole")
