"""Pyramids that were killed: the same command ends with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_tools import Command, files_of, records, wait_for_records


@pytest.mark.parametrize("name", ["ome-zarr", "precomputed"])
def test_a_killed_export_ends_with_the_same_bytes(
    name: str, finished_run: Path, tmp_path: Path, command: Command
) -> None:
    more = ["--levels", 3, "--compact-ids"]
    command("export", finished_run / "out.zarr", name, "--to", tmp_path / "whole", "--workers", 0, *more)
    arguments = ["export", finished_run / "out.zarr", name, "--to", tmp_path / "killed", *more, "--workers", 1]
    entry = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments)]
    task = f"{name}-segmentation-0"
    with subprocess.Popen(entry, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for_records(tmp_path / "killed.progress", task, 1, process)
        process.send_signal(signal.SIGKILL)
    assert len(records(tmp_path / "killed.progress", task)) >= 1
    assert command(*arguments)[0] == 0
    assert files_of(tmp_path, "killed") == files_of(tmp_path, "whole")
    tables = [(tmp_path / f"{which}.ids.parquet").read_bytes() for which in ("whole", "killed")]
    assert tables[0] == tables[1]
