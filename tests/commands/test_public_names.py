"""What scripts may rely on, and what a command that computes nothing must not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fgnet_pipeline

HEAVY = ("numba", "zarr", "torch", "daisy", "scipy", "pyarrow")


@pytest.mark.parametrize("name", fgnet_pipeline.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fgnet_pipeline, name).__doc__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        fgnet_pipeline.nothing_of_that_name  # noqa: B018


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["fgnet", *{arguments!r}]
from fgnet_pipeline.commands.entry import main
try:
    main()
except SystemExit as ended:
    assert ended.code == 0
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_importing_the_package_imports_no_room() -> None:
    code = "import sys, fgnet_pipeline; print([m for m in sys.modules if m.startswith('fgnet_pipeline.')])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
