"""A view that is served while the tests of a file run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from views_of_runs import opened, served

from fgnet_pipeline.views.server import ViewServer


@pytest.fixture(scope="module")
def server(finished_run: Path) -> Iterator[ViewServer]:
    """The served view of a finished run."""
    with served(opened(finished_run / "out.zarr")) as running:
        yield running
