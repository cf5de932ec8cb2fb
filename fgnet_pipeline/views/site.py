"""The web site of a view: what is answered to a request, whatever connection it comes from.

All that can be asked for lies below a random token:

    /TOKEN/                     leads to the viewer, with the state in the address
    /TOKEN/v/view/              the client of Neuroglancer, and its files
    /TOKEN/events/view          a stream without events, which the client of the Python package expects
    /TOKEN/data/NAME/zarr.json  the document of an array
    /TOKEN/data/NAME/CHUNK      a chunk, whole or in part

Everything else is unknown. Login nodes are shared: other users of the machine can connect to the port, but they do not
know the token. A web page that a user visits elsewhere cannot reach the data either: it does not know the token, its
requests carry a foreign Origin or Host, and no answer lets pages of another origin read it.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fgnet_pipeline.core.errors import StoreError
from fgnet_pipeline.core.viewer_state import State, fragment_of
from fgnet_pipeline.store.served_array import DOCUMENT, ServedArray
from fgnet_pipeline.views.client_files import ClientFiles

METHODS = ("GET", "HEAD", "OPTIONS")
#: This machine as a browser names it. The port may be another one: that of a tunnel.
_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
#: What a page may load: its own files, and data from anywhere, so that users can add layers of other servers.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src *; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
#: The client's files do not change, and some are asked for by several threads of a browser.
KEPT = "private, max-age=3600"
#: The name of the page in the address of the client, which the client expects to have one.
VIEW = "view"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A request as far as it matters.

    Attributes:
        method: e.g. `GET`.
        target: path and query, as they were sent.
        host: the header Host; "" without one.
        origin: the header Origin; None without one.
        range: the header Range; None without one.
    """

    method: str
    target: str
    host: str
    origin: str | None = None
    range: str | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Attributes:
        status: of HTTP.
        body: bytes; not sent for HEAD.
        headers: further headers.
        length: of the body that HEAD stands for, if it was not read.
        is_stream: whether the connection stays open, for events.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    is_stream: bool = False


class Site:
    """Answers requests. It reads and never writes.

    Args:
        arrays: name of a layer -> its array.
        state: gives the state of the viewer for the address below which the arrays lie.
        client: the files of the viewer.

    Attributes:
        token: without which nothing is answered.
    """

    def __init__(self, arrays: Mapping[str, ServedArray], state: Callable[[str], State], client: ClientFiles) -> None:
        self._arrays, self._state, self._client = arrays, state, client
        self.token = secrets.token_urlsafe(32)

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        if not _HOST.fullmatch(request.host):
            return _text(403, "this server answers to localhost and 127.0.0.1 alone")
        if request.origin is not None and request.origin.lower() != f"http://{request.host}".lower():
            return _text(403, "pages of other origins may not read this")
        if request.method not in METHODS:
            return _text(405, "read-only", {"Allow": ", ".join(METHODS)})
        if request.method == "OPTIONS":
            return Answer(204, headers={"Allow": ", ".join(METHODS)})
        path = request.target.partition("?")[0]
        if path == "/favicon.ico":  # browsers ask for it, and would report that it is missing
            return Answer(204)
        token, _, rest = path.removeprefix("/").partition("/")
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())
        return self._below(rest, request) if known and path.startswith(f"/{token}/") else _unknown()

    def state_at(self, host: str) -> State:
        """The state of the viewer for the name and port by which the site is reached."""
        return self._state(f"http://{host}/{self.token}/data/")

    def _below(self, path: str, request: Request) -> Answer:
        """Answer to a path below the token."""
        if path == "":
            state = self.state_at(request.host)
            return Answer(302, headers={"Location": f"/{self.token}/v/{VIEW}/{fragment_of(state)}"})
        first, _, rest = path.partition("/")
        if first == "v" and rest.startswith(f"{VIEW}/"):
            return self._client_file(rest.removeprefix(f"{VIEW}/"))
        if path == f"events/{VIEW}":
            return Answer(200, headers={"Content-Type": "text/event-stream"}, is_stream=True)
        name, _, key = rest.partition("/")
        array = self._arrays.get(name) if first == "data" else None
        if array is None:
            return _unknown()
        if key == DOCUMENT:
            return Answer(200, array.document, {"Content-Type": "application/json"})
        return self._chunk(array, key, request)

    def _client_file(self, name: str) -> Answer:
        found = self._client.read(name)
        if found is None:
            return _unknown()
        body, kind = found
        page = {"Content-Security-Policy": POLICY} if kind.startswith("text/html") else {}
        return Answer(200, body, {"Content-Type": kind, "Cache-Control": KEPT, **page})

    def _chunk(self, array: ServedArray, key: str, request: Request) -> Answer:
        """A chunk. One that is not stored is a folder without entries.

        Neuroglancer takes a redirection to the same path with a slash as "there is no such file" (`read.ts` of its
        HTTP store), and the browser reports no error, as it would for the status 404.
        """
        if key.endswith("/") and array.index_of(key[:-1]) is not None:
            return Answer(200)
        if array.index_of(key) is None:
            return _unknown()
        try:
            found = _size(array, key) if request.method == "HEAD" else _bytes(array, key, request.range)
        except StoreError as error:
            _log.warning("%s", error)
            return _text(502, str(error))
        if found is None:
            return Answer(302, headers={"Location": request.target.partition("?")[0] + "/"})
        return found


def _size(array: ServedArray, key: str) -> Answer | None:
    size = array.size(key)
    return None if size is None else Answer(200, headers=_BINARY, length=size)


def _bytes(array: ServedArray, key: str, wanted: str | None) -> Answer | None:
    """The bytes of a chunk that a header Range asks for. Ranges of several parts are ignored, as HTTP allows."""
    limits = _RANGE.fullmatch(wanted or "")
    if limits is None or limits[0] == "bytes=-":
        part = array.read(key)
        return None if part is None else Answer(200, part.data, _BINARY)
    begin, end = _limits(array, key, limits[1], limits[2])
    part = array.read(key, begin, end)
    if part is None:
        return None
    total = "*" if part.total is None else str(part.total)
    if not part.data:
        return _text(416, "outside the file", {"Content-Range": f"bytes */{total}"})
    stated = f"bytes {begin}-{begin + len(part.data) - 1}/{total}"
    return Answer(206, part.data, {**_BINARY, "Content-Range": stated})


def _limits(array: ServedArray, key: str, first: str, last: str) -> tuple[int, int | None]:
    """The first byte of a range, and the one after its last."""
    if first:
        return int(first), int(last) + 1 if last else None
    size = array.size(key) or 0
    return max(0, size - int(last)), size


_BINARY = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}


def _text(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, f"{sentence}\n".encode(), {"Content-Type": "text/plain; charset=utf-8", **(headers or {})})


def _unknown() -> Answer:
    return _text(404, "there is nothing of that name")
