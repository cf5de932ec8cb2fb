"""The files of the Neuroglancer client: HTML, scripts and WebAssembly, as the package `neuroglancer` brings them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from fgnet_pipeline.core.errors import InputError

PAGE = "index.html"
#: Suffix of a file -> its media type.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".map": "application/json",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True)
class ClientFiles:
    """The client in a folder. Only files that were there when it was opened can be read.

    Attributes:
        folder: that holds the files.
        names: of the files.
    """

    folder: Path
    names: frozenset[str]

    def read(self, name: str) -> tuple[bytes, str] | None:
        """The bytes and the media type of a file; the page for the empty name; None if there is no such file."""
        name = name or PAGE
        if name not in self.names:
            return None
        path = self.folder / name
        return path.read_bytes(), MEDIA_TYPES[path.suffix]


def client_files() -> ClientFiles:
    """Find the client. The package itself is not imported, since that takes as long as everything else together.

    Raises:
        InputError: the package is not installed, or it has no client.
    """
    found = importlib.util.find_spec("neuroglancer")
    folders = [Path(place) / "static" / "client" for place in (found.submodule_search_locations or [])] if found else []
    for folder in folders:
        if (folder / PAGE).is_file():
            names = (path.name for path in folder.iterdir() if path.is_file() and path.suffix in MEDIA_TYPES)
            return ClientFiles(folder, frozenset(names))
    raise InputError(
        "fgnet view", "neuroglancer", "this package, which brings the viewer",
        "pip install 'fgnet-pipeline[view]', or use --link for a Neuroglancer of your own",
    )  # fmt: skip
