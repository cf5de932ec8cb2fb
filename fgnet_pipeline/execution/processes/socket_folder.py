"""The folder in which `multiprocessing` makes its sockets.

The path of a socket has at most 107 bytes on Linux and 103 on macOS (unix(7); `sun_path` in sys/un.h), and Python makes
its sockets below the temporary folder, whatever its length. If that is too long, they are made elsewhere.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import process, util
from pathlib import Path

from fgnet_pipeline.core.errors import InputError

#: Bytes of the longest path of a socket.
LONGEST = 107 if sys.platform == "linux" else 103
#: Bytes of Python's names below the temporary folder: `/pymp-xxxxxxxx` and, below that, `/listener-xxxxxxxx`.
_FOLDER, _BELOW = 14, 18


def settle_socket_folder() -> None:
    """Choose the folder of this process's sockets, once, before the first of them is made.

    The processes that this one starts take the same folder, which is removed when this process ends.

    Raises:
        InputError: no folder with a short path can be written.
    """
    settings = process.current_process()._config  # type: ignore[attr-defined]
    if (chosen := settings.get("tempdir")) is not None:
        if len(os.fsencode(chosen)) <= LONGEST - _BELOW:
            return
        settings["tempdir"] = None
    former = tempfile.tempdir
    for place in _places():
        if len(os.fsencode(place)) > LONGEST - _FOLDER - _BELOW:
            continue
        tempfile.tempdir = place
        try:
            util.get_temp_dir()
        except OSError:
            continue
        finally:
            tempfile.tempdir = former
        return
    expected = f"a folder that can be written, with a path of at most {LONGEST - _FOLDER - _BELOW} bytes"
    raise InputError("TMPDIR", os.environ.get("TMPDIR"), expected, "set TMPDIR=/tmp, or another such folder")


def _places() -> Iterator[str]:
    """Folders for short-lived files, the preferred one first."""
    with suppress(OSError):  # neither TMPDIR nor any usual folder can be written
        yield tempfile.gettempdir()
    for name in (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp", "/dev/shm"):
        if os.path.isabs(name) and Path(name).is_dir():
            yield name
