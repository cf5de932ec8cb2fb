"""What a test needs beside Python packages, and what becomes of it if that is missing."""

from __future__ import annotations

import os

import pytest


def required(name: str) -> bool:
    """True if `FGNET_REQUIRE` names `name`: a test must then fail instead of being skipped."""
    return name in os.environ.get("FGNET_REQUIRE", "").replace(" ", "").split(",")


def skip_or_fail(name: str, reason: str) -> None:
    """Skip the running test for `reason`, or fail it if `FGNET_REQUIRE` names `name`."""
    if required(name):
        pytest.fail(f"FGNET_REQUIRE names {name!r}, but {reason}")
    pytest.skip(reason, allow_module_level=True)
