"""Whether a user is told that a first run compiles kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_tools import standard_config

from fgnet_pipeline.execution.run import PREDICT, run
from fgnet_pipeline.kernels import compiled
from fgnet_pipeline.stages.configuration import load_config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of compiled code beside a copy of the source; what this process asked before is forgotten."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiled, "PACKAGE", tmp_path / "kernels")
    compiled.was_compiled.cache_clear()
    folder = tmp_path / "kernels" / "fragments" / "__pycache__"
    folder.mkdir(parents=True)
    (folder.parent / "flood.py").touch()
    return folder


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Tests after this one ask anew."""
    yield
    compiled.was_compiled.cache_clear()


def test_code_that_is_younger_than_its_source_counts(folder: Path) -> None:
    source = (compiled.PACKAGE / "fragments" / "flood.py").stat().st_mtime
    (folder / "relabel.relabel-1.py311.nbi").touch()
    assert not compiled.was_compiled.__wrapped__(), "of another kernel"
    kept = folder / "flood.flood-112.py311.nbi"
    kept.touch()
    os.utime(kept, (source - 1, source - 1))
    assert not compiled.was_compiled.__wrapped__()
    os.utime(kept, (source + 1, source + 1))
    assert compiled.was_compiled.__wrapped__()


def test_the_file_of_kernels_can_be_named(folder: Path) -> None:
    (compiled.PACKAGE / "cpu_steps.py").touch()
    (compiled.PACKAGE / "__pycache__").mkdir()
    (folder / "flood.flood-112.py311.nbi").touch()
    assert compiled.was_compiled() and not compiled.was_compiled("cpu_steps.py")
    (compiled.PACKAGE / "__pycache__" / "cpu_steps.moments-80.py311.nbi").touch()
    assert not compiled.was_compiled("cpu_steps.py"), "what the first call found"
    assert compiled.was_compiled.__wrapped__("cpu_steps.py")


def test_a_run_without_kernels_does_not_say_so(folder: Path, tmp_path: Path, small_raw: str) -> None:
    said: list[str] = []
    run(load_config(standard_config(tmp_path, small_raw), ["schedule.workers=0"]), PREDICT, report=said.append)
    assert any("blocks to do: predict" in line for line in said)
    assert not any("compiling" in line for line in said)


@pytest.mark.parametrize("kept", [False, True])
def test_a_run_says_that_it_compiles(kept: bool, folder: Path, tmp_path: Path, small_raw: str) -> None:
    if kept:
        (folder / "flood.flood-112.py311.nbi").touch()
    said: list[str] = []
    config = load_config(standard_config(tmp_path, small_raw), ["schedule.workers=0"])
    run(config, report=said.append)
    assert any("compiling kernels, once per installation" in line for line in said) is not kept
    said.clear()
    compiled.was_compiled.cache_clear()
    run(config, report=said.append)
    assert not any("compiling" in line for line in said), "nothing is left to compute"
