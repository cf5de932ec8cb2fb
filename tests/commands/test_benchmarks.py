"""Every script in benchmarks/ starts, imports what exists, and says what it measures; some cheap ones run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pipeline_tools import CHECKOUT

from fgnet_pipeline.store.layout import state_of
from fgnet_pipeline.store.records.progress import Progress

SCRIPTS = sorted((CHECKOUT / "benchmarks").glob("*.py"))
#: Imported by other scripts; they have no command of their own.
LIBRARIES = (
    "no_op_stages.py", "plain_unet.py", "fault_runs.py", "fault_kills.py", "fault_damage.py", "gpu_samples.py",
)  # fmt: skip
each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def checks() -> dict[str, dict[str, Any]]:
    """What benchmark_checks.py says of each script."""
    command = [sys.executable, str(CHECKOUT / "tests" / "benchmark_checks.py"), *map(str, SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    return {Path(found["script"]).name: found for found in map(json.loads, done.stdout.splitlines())}


@each
def test_help_is_answered(script: Path, checks: dict[str, dict[str, Any]]) -> None:
    found = checks[script.name]
    assert found["code"] == 0, found["help"]
    assert found["help"].startswith("usage:") or script.name in LIBRARIES


@each
def test_everything_imported_exists(script: Path, checks: dict[str, dict[str, Any]]) -> None:
    assert checks[script.name]["missing"] == []


@each
def test_the_docstring_has_a_command_and_says_what_its_figures_mean(script: Path) -> None:
    text = ast.get_docstring(ast.parse(script.read_text()))
    assert text is not None
    summary, *rest = text.split("\n\n")
    assert summary.endswith((".", ":")) and "\n" not in summary
    assert any(f"python benchmarks/{script.name}" in part for part in rest) or script.name in LIBRARIES
    assert len(rest) >= 2, "after the command it must say what is measured and what the figures mean"


def printed(script: str, *arguments: str) -> str:
    """What a script prints in a run that succeeds; worker processes find the modules beside it."""
    folder = CHECKOUT / "benchmarks"
    places = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(folder / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": places}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_blocks_of_no_work_have_records_and_nothing_is_computed(tmp_path: Path) -> None:
    found = json.loads(printed("many_blocks.py", "--blocks", "24", "--workers", "1", "--folder", str(tmp_path)))
    assert found.keys() == {"seconds", "cpu", "driver_mib"}
    progress = Progress(state_of(tmp_path / "out.zarr") / "progress")
    for task in ("predict", "fragments", "edges"):
        records = list(progress.records(task))
        assert len(records) == 8
        assert {(r["nonzero"], r["checksum"]) for r in records} == {(0, "crc32c:00000000")}


def test_the_divided_agglomeration_does_the_whole_octree(tmp_path: Path) -> None:
    sizes = ("--edges", "6000", "--per-block", "5", "--leaf-blocks", "1")
    found = json.loads(printed("divided_agglomeration.py", *sizes, "--folder", str(tmp_path)))
    assert (found["blocks"], found["fragments"]) == (8, 8 * 5**3)
    nodes = {name: level["nodes"] for name, level in found["levels"].items()}
    assert nodes == {"agglomerate-0": 8, "agglomerate-1": 1, "lut-1": 1, "lut-0": 8}
    assert 5 < found["edges"] / found["fragments"] < 7
    assert found["levels"]["lut-0"]["rows"] == found["fragments"]


def test_gpu_hours_prints_the_table_of_its_results() -> None:
    results = (CHECKOUT / "benchmarks" / "results" / "gpu_hours.md").read_text()
    assert printed("gpu_hours.py", "--gpu", "H200") in results
