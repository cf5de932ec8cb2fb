"""Every script in benchmarks/ starts, imports what exists, and says what it measures."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pipeline_tools import CHECKOUT

SCRIPTS = sorted((CHECKOUT / "benchmarks").glob("*.py"))
#: Imported by other scripts; they have no command of their own.
LIBRARIES = ("no_op_stages.py", "plain_unet.py", "fault_runs.py", "fault_kills.py", "fault_damage.py")
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
