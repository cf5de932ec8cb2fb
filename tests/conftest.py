"""Fixtures that all tests share.

``FGNET_REQUIRE`` (comma list of data, slurm, postgres, browser, s3): what it names is never skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from required import skip_or_fail
from slurm_cluster import Cluster, missing_programs

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, those of a file stay together, as they share fixtures; so do those of Slurm."""
    for item in items:
        shared = "cluster" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("slurm" if shared else item.path.stem))


@pytest.fixture(scope="session")
def sample() -> Path:
    """Path of fib25.zarr (arrays raw, labels): ``$FGNET_DATA`` or ``../shared/data`` beside the checkout."""
    given = os.environ.get("FGNET_DATA")
    root = Path(given) if given else CHECKOUT.parent / "shared" / "data"
    found = root if (root / "raw" / "zarr.json").exists() else root / "fib25.zarr"
    if not (found / "raw" / "zarr.json").exists():
        skip_or_fail("data", f"no real sample at {found}: set FGNET_DATA to the folder that holds fib25.zarr")
    return found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real one-node Slurm, for the whole session."""
    missing = missing_programs()
    if missing:
        skip_or_fail("slurm", f"Slurm is not installed here ({', '.join(missing)} missing)")
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        started.start()
        yield started
    finally:
        started.stop()
