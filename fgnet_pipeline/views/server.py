"""Serves a site on the loopback interface, with one thread per connection."""

from __future__ import annotations

import errno
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.viewer_state import State
from fgnet_pipeline.views.client_files import client_files
from fgnet_pipeline.views.site import Answer, Request, Site
from fgnet_pipeline.views.view import View

ADDRESS = "127.0.0.1"
#: How long (s) a connection may be silent, and how often a stream of events says that it is alive.
SILENCE, BEAT = 60, 15


class ViewServer(ThreadingHTTPServer):
    """The server of one site.

    Args:
        site: what is served.
        port: of the loopback interface; 0 takes a free one.

    Attributes:
        site: as given.
        closing: set when the server ends.

    Raises:
        InputError: the port cannot be used.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, site: Site, port: int = 0) -> None:
        self.site, self.closing = site, threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            used = error.errno == errno.EADDRINUSE
            expected = "a port that no other program uses" if used else f"a port that may be used ({error.strerror})"
            raise InputError("--port", port, expected, "name another, or leave --port out") from error

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address of the view on this machine."""
        return f"http://{ADDRESS}:{self.port}/{self.site.token}/"

    @property
    def state(self) -> State:
        """The state of the viewer at that address."""
        return self.site.state_at(f"{ADDRESS}:{self.port}")

    def start(self) -> None:
        """Serve in a thread, until `server_close`."""
        self._thread.start()

    def server_close(self) -> None:
        """End streams of events, and give the port back."""
        self.closing.set()
        if self._thread.is_alive():
            self.shutdown()
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a connection in the middle of an answer is no error."""


def view_server(view: View, port: int = 0) -> ViewServer:
    """The server of a view; it serves once it is started.

    Args:
        view: that is shown.
        port: of the loopback interface; 0 takes a free one.

    Raises:
        InputError: the port cannot be used, or the package that brings the viewer is not installed.
    """
    arrays = {layer.name: layer.served for layer in view.found.layers}
    site = Site(
        arrays, lambda base: view.state(lambda layer: layer.source(f"zarr3://{base}{layer.name}/")), client_files()
    )
    return ViewServer(site, port)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fgnet", ""
    timeout = SILENCE
    server: ViewServer

    def _respond(self) -> None:
        headers = self.headers
        if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
            self.close_connection = True  # a body would be read as the next request
        request = Request(self.command, self.path, headers.get("Host", ""), headers.get("Origin"), headers.get("Range"))
        answer = self.server.site.answer(request)
        self._send(answer)
        if answer.is_stream and self.command == "GET":
            self._beat()

    # The names are those that http.server looks for.
    do_GET = do_HEAD = do_OPTIONS = do_POST = do_PUT = do_DELETE = do_PATCH = _respond  # noqa: N815

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        # New blocks must show when the page is loaded again. No other site may learn the address.
        fixed = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
        for name, value in {**fixed, **answer.headers}.items():
            self.send_header(name, value)
        self.close_connection |= answer.is_stream
        if self.close_connection:
            self.send_header("Connection", "close")
        if answer.status != 204 and not answer.is_stream:
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _beat(self) -> None:
        """Keep a stream of events open: the client shows a message if it is closed."""
        while True:
            self.wfile.write(b":\n\n")
            self.wfile.flush()
            if self.server.closing.wait(BEAT):
                return

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their paths hold the token."""
