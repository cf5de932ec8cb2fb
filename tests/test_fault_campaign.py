"""A short fault campaign (benchmarks/faults.py): random kills of real runs, a full and a read-only disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pipeline_tools import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "benchmarks"))
import faults


def test_kills(tmp_path: Path) -> None:
    tally = faults.campaign(tmp_path / "faults", kills=5, seed=1, repeats=0, disks=0, say=print)
    assert not tally.failures and tally.equal.total() >= 5, tally.failures


def test_disks(tmp_path: Path) -> None:
    if not faults.can_mount(tmp_path):
        pytest.skip("this process may not mount a tmpfs, which a full disk is made of")
    tally = faults.campaign(tmp_path / "faults", kills=0, seed=1, repeats=0, disks=1, say=print)
    assert not tally.failures and tally.equal.total() == 2, tally.failures
