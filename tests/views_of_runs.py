"""Views of runs, opened and served as the command does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fgnet_pipeline.stages.configuration import load_result
from fgnet_pipeline.views.server import ViewServer, view_server
from fgnet_pipeline.views.view import View, open_view


def opened(output: Path | str, *overrides: str, **options: Any) -> View:
    """The view of an output, with overrides of its configuration and the options of `open_view`."""
    return open_view(load_result(str(output), list(overrides)), **options)


@contextmanager
def served(view: View) -> Iterator[ViewServer]:
    """Serve a view."""
    with view_server(view) as server:
        server.start()
        yield server
