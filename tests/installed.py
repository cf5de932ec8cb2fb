"""Distributions for tests: a folder with a module and the metadata that an installer would write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, points: dict[str, str], modules: dict[str, str]
) -> None:
    """Write a distribution into a new folder and put the folder on `sys.path` until the test ends.

    Args:
        folder: where a subfolder is made; its name is the distribution's.
        monkeypatch: undoes the change of `sys.path` and forgets the modules.
        group: entry-point group.
        points: entry points of the group, name to `module:attribute`.
        modules: source of each module by name.
    """
    root = folder / "site"
    metadata = root / "toy-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, source in modules.items():
        (root / f"{name}.py").write_text(dedent(source))
    forget(monkeypatch, *modules)
    monkeypatch.syspath_prepend(str(root))


def forget(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Have the modules imported anew now, and dropped when the test ends."""
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)  # what the end of the test undoes
        monkeypatch.delitem(sys.modules, name)


def install_source(source: Path, folder: Path) -> dict[str, str]:
    """Install a distribution as its users would, but into a folder of its own.

    Args:
        source: folder of one module and its pyproject.toml; it stays as it is.
        folder: where the distribution goes.

    Returns:
        Environment variables for processes that are to find the distribution.
    """
    copied = folder / "source"
    copied.mkdir(parents=True)
    for path in (*source.glob("*.py"), source / "pyproject.toml"):
        (copied / path.name).write_bytes(path.read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(copied)], check=True, cwd=folder)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])}
