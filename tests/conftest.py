"""Fixtures that all tests share.

``FGNET_REQUIRE`` (comma list of data, slurm, postgres, browser, s3): what it names is never skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def required(name: str) -> bool:
    """True where ``FGNET_REQUIRE`` names ``name``: a test must then fail instead of being skipped."""
    return name in os.environ.get("FGNET_REQUIRE", "").replace(" ", "").split(",")


def skip_or_fail(name: str, reason: str) -> None:
    """Skip the running test with ``reason``, or fail it where ``FGNET_REQUIRE`` names ``name``."""
    if required(name):
        pytest.fail(f"FGNET_REQUIRE names {name!r}, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def sample() -> Path:
    """Path of fib25.zarr (arrays raw, labels): ``$FGNET_DATA`` or ``../shared/data`` beside the checkout."""
    given = os.environ.get("FGNET_DATA")
    root = Path(given) if given else CHECKOUT.parent / "shared" / "data"
    found = root if (root / "raw" / "zarr.json").exists() else root / "fib25.zarr"
    if not (found / "raw" / "zarr.json").exists():
        skip_or_fail("data", f"no real sample at {found}: set FGNET_DATA to the folder that holds fib25.zarr")
    return found
