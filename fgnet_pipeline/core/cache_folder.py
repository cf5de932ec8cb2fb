"""A folder of this user for files that may be thrown away at any time, e.g. compiled code.

Whoever can write to such a folder can have this user run code, so a folder of another user, or one that others may
write to, is never used.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

NAME = "fgnet"


def cache_folder(name: str) -> Path | None:
    """Find or make a folder that this user can write to, and nobody else.

    The first place that works is taken: `$XDG_CACHE_HOME/fgnet`, `~/.cache/fgnet`, `fgnet-cache-UID` in the temporary
    folder (`TMPDIR`, or else /tmp).

    Source: XDG Base Directory Specification 0.8 (a relative `XDG_CACHE_HOME` is ignored).

    Args:
        name: of the folder in that place.

    Returns:
        The folder; None if no place works.
    """
    for place in _places():
        if _is_own(place) and _is_own(place / name) and is_writable(place / name):
            return place / name
    return None


def settle_matplotlib() -> None:
    """Name a folder for matplotlib's settings and fonts if HOME cannot be written; to be called before it is imported.

    Otherwise it makes a new folder per process, with a warning, and looks for all fonts again.
    """
    home = Path(os.path.expanduser("~"))
    usual = [home / ".config" / "matplotlib", home / ".cache" / "matplotlib"]
    if "MPLCONFIGDIR" in os.environ or os.access(home, os.W_OK) or all(os.access(folder, os.W_OK) for folder in usual):
        return
    if (folder := cache_folder("matplotlib")) is not None:
        os.environ["MPLCONFIGDIR"] = str(folder)


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in the folder, which is tried: permissions alone do not say it."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, ValueError):
        return False
    return True


def _places() -> Iterator[Path]:
    for folder in (os.environ.get("XDG_CACHE_HOME", ""), os.path.join(os.path.expanduser("~"), ".cache")):
        if os.path.isabs(folder):
            with contextlib.suppress(OSError, ValueError):
                Path(folder).mkdir(mode=0o700, exist_ok=True)
            yield Path(folder) / NAME
    try:
        yield Path(tempfile.gettempdir()) / f"{NAME}-cache-{os.geteuid()}"
    except OSError:  # no temporary folder can be written
        return


def _is_own(folder: Path) -> bool:
    """Make the folder if its parent exists. Whether it is this user's, and nobody else may write to it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
