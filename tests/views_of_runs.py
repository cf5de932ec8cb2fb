"""Views of runs, opened and served as the command does."""

from __future__ import annotations

import http.client
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


def ask(
    server: ViewServer, path: str, method: str = "GET", absolute: bool = False, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Send a path as it is, below the token unless it is `absolute`; status, body and headers of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path if absolute else f"/{server.site.token}/{path}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()
