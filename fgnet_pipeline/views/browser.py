"""Opens a view in the user's browser, if there is one that can be seen."""

from __future__ import annotations

import html
import os
import shutil
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Environment variables that a login over the network sets. A browser would then open on the wrong side, or slowly.
_REMOTE = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")


def has_display() -> bool:
    """Whether the user sits at this machine and can see a window."""
    if any(os.environ.get(name) for name in _REMOTE):
        return False
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


@contextmanager
def opened(url: str) -> Iterator[None]:
    """Open a browser for the time of the `with` block. That there is none is no error: the address was printed.

    The browser gets a file that leads to the address and that only this user can read. All users of a machine can read
    the arguments of a process, and the address holds the token.
    """
    folder = Path(tempfile.mkdtemp(prefix="fgnet-view-", dir=os.environ.get("XDG_RUNTIME_DIR")))
    try:
        page = folder / "view.html"
        target = html.escape(url, quote=True)
        page.write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={target}"><a href="{target}">view</a>'
        )
        # In a thread: some browsers are waited for until they end.
        threading.Thread(target=_open, args=(page.as_uri(),), daemon=True).start()
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _open(address: str) -> None:
    try:
        webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return
