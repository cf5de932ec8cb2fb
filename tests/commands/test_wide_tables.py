"""On a terminal of 80 columns, no row of a table is broken, and sentences are divided between words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import read, write_volume
from terminal import Screen, on_terminal

COLUMNS = 80


@pytest.fixture(scope="module")
def labels(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Large ids, so that rows are as long as they can be."""
    ids = (np.indices((40, 50, 60)) // 25).sum(0).astype(np.uint64) + np.uint64((1 << 64) - 100)
    return write_volume(tmp_path_factory.mktemp("labels") / "labels.zarr", ids)


def shown(*arguments: object) -> Screen:
    """What a command leaves on the terminal."""
    code, screen, _ = on_terminal(*arguments, columns=COLUMNS)
    assert code == 0, screen.text
    return screen


def broken(screen: Screen) -> list[str]:
    """Lines that the terminal had to break, but for paths, which are never divided."""
    return [line for line in screen.printed if len(line) > COLUMNS and not line.startswith("/")]


def test_plan_and_status(finished_run: Path) -> None:
    screen = shown("plan", finished_run / "config.toml")
    assert broken(screen) == []
    titles = [line.split()[:2] for line in screen.lines if line.startswith("task ")]
    assert len(titles) > 1 and all(title[0] == "task" for title in titles)
    assert broken(shown("status", finished_run / "out.zarr")) == []


def test_evaluate_sweep_and_report(finished_run: Path, labels: str, tmp_path: Path) -> None:
    out = finished_run / "out.zarr"
    screen = shown("evaluate", out / "segmentation", labels, "--worst", 3)
    assert broken(screen) == []
    rows = [line for line in screen.lines if line.startswith("1844674407370955")]
    assert len(rows) >= 3 and all(len(row.split()) > 1 for row in rows)
    assert broken(shown("sweep", out, labels, "--step", 0.1, "--png", tmp_path / "s.png")) == []
    assert broken(shown("report", out, "--labels", labels, "--to", tmp_path / "r.html")) == []


def test_inspect(finished_run: Path) -> None:
    out = finished_run / "out.zarr"
    ids, counts = np.unique(read(out, "segmentation"), return_counts=True)
    assert broken(shown("inspect", out, ids[np.argmax(counts)])) == []
