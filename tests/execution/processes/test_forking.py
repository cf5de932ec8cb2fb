"""What workers are forked from: everything loaded, nothing that is not needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline_tools import cells, script, standard_config, write_volume

from fgnet_pipeline.execution.processes.fork_server import _will_fork

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


def test_workers_without_prediction_load_neither_torch_nor_pandas(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITES_A_TABLE, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_server_started_early_serves_the_workers(tmp_path: Path) -> None:
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", cells((24, 24, 24))))
    script("run_predict.py", config)
    script("run_agglomerate.py", config, "--workers", 2)
    assert "0 of" in script("run_agglomerate.py", config, "--workers", 2).stderr


def test_a_server_is_started_early_only_where_workers_will_be_forked(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[schedule]\nworkers = 3\n[output]\npath = "x.zarr"\n')
    assert _will_fork(file, []) and _will_fork(file, ["schedule.workers=1"])
    for override in ("schedule.workers=0", "schedule.backend=slurm", "output.path=s3://bucket/x.zarr"):
        assert not _will_fork(file, [override])
    file.write_text("[schedule\n")
    assert not _will_fork(file, []) and not _will_fork(tmp_path / "none.toml", [])
