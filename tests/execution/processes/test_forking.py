"""What workers are forked from: everything loaded, nothing that is not needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_tools import cells, script, standard_config, write_volume

from fgnet_pipeline.execution.processes import fork_server as processes

WRITES_A_TABLE = """
import sys
from pathlib import Path
import numpy as np
import fgnet_pipeline.execution.processes.preload
from fgnet_pipeline.store.tables import Tables
tables = Tables(Path(sys.argv[1]), "edges", "edges")
tables.write((0, 0, 0), {"u": np.arange(3, dtype=np.uint64), "position": np.zeros((3, 3))})
assert tables.read((0, 0, 0))["position"].shape == (3, 3)
for name in ("pandas", "torch", "fgnet"):
    assert name not in sys.modules, name
"""
WITH_WORKERS = '[schedule]\nworkers = 3\n[output]\npath = "x.zarr"\n'


def test_workers_without_prediction_load_neither_torch_nor_pandas(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITES_A_TABLE, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_server_started_early_serves_the_workers(tmp_path: Path) -> None:
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", cells((24, 24, 24))))
    script("run_predict.py", config)
    script("run_agglomerate.py", config, "--workers", 2)
    assert "0 of" in script("run_agglomerate.py", config, "--workers", 2).stderr


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was started: an item per fork server, which takes too much time to start for real."""
    calls: list[object] = []
    monkeypatch.setattr(processes, "fork_server", lambda _: calls.append("server"))
    return calls


@pytest.mark.parametrize("override", [None, "schedule.workers=1"])
def test_a_server_is_started_early_if_workers_will_be_forked(
    tmp_path: Path, started: list[object], override: str | None
) -> None:
    processes.start_early(write(tmp_path, WITH_WORKERS), [override] if override else [])
    assert len(started) == 1


@pytest.mark.parametrize("override", ["schedule.workers=0", "schedule.backend=slurm", "output.path=s3://bucket/x.zarr"])
def test_no_server_is_started_if_no_worker_will_be_forked(tmp_path: Path, started: list[object], override: str) -> None:
    processes.start_early(write(tmp_path, WITH_WORKERS), [override])
    assert started == []


def test_no_server_is_started_for_a_configuration_that_cannot_be_read(tmp_path: Path, started: list[object]) -> None:
    processes.start_early(write(tmp_path, "[schedule\n"), [])
    processes.start_early(tmp_path / "none.toml", [])
    assert started == []


def write(folder: Path, text: str) -> Path:
    file = folder / "c.toml"
    file.write_text(text)
    return file
