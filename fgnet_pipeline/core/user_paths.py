"""Paths as users write them, made absolute; what no file system can hold is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from fgnet_pipeline.core.errors import InputError


def absolute_path(path: str, base: Path | None, field: str, follow_links: bool = True) -> str:
    """Make a path absolute. `~` and `~user` are replaced by home folders.

    Nothing has to exist at the path.

    Args:
        path: as written by a user.
        base: the folder that a relative path is relative to; None: the working directory.
        field: the key or option, for errors.
        follow_links: whether links are replaced by what they lead to; if not, links after the last `..` stay.

    Raises:
        InputError: the path is empty, no file system can hold it, it names a user who does not exist, its links form
            a circle, or the working directory does not exist.
    """
    if not path:
        raise InputError(field, path, "a path", "name one, or leave it out")
    _require_encodable(path, field)
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        remedy = f"name a user who exists, or write ./{path}"
        raise InputError(field, path, "a path below a home folder that is known", remedy) from error
    try:
        given = (Path.cwd() if base is None else base) / expanded
        found = str(given.resolve())  # also finds circles of links
        if not follow_links:
            found = str(_without_dots(given))
        _require_encodable(found, field)
        _require_short(found, path, field)
    except FileNotFoundError as error:
        expected = "an absolute path (the working directory does not exist any more)"
        raise InputError(field, path, expected, "change to a folder that exists") from error
    except RuntimeError as error:  # what Python 3.11 and 3.12 raise for a circle of links
        raise InputError(field, path, "a path whose links form no circle", "check the links") from error
    except OSError as error:
        raise InputError(field, path, "a path that can be opened", f"check it ({error.strerror})") from error
    return found


def _without_dots(path: Path) -> Path:
    """An absolute path without `..`; links after the last `..` keep their names."""
    last = max((i for i, part in enumerate(path.parts) if part == ".."), default=-1)
    return Path(*path.parts[: last + 1]).resolve().joinpath(*path.parts[last + 1 :]) if last >= 0 else path


def check_file_to_write(path: Path, field: str) -> None:
    """Check, before any work is done for it, that a file can be made at a path.

    Raises:
        InputError: see `absolute_path`; or something that is no file has this name; or the folder of the file can be
            neither written nor made.
    """
    found = Path(absolute_path(str(path), None, field))
    if os.path.lexists(found) and not found.is_file():
        # A new file would take the place of a device, e.g. /dev/null.
        raise InputError(field, str(path), "the name of a file (a folder or device has this name)", "name a file")
    above = next(folder for folder in found.parents if os.path.lexists(folder))
    if not above.is_dir():
        raise InputError(field, str(path), f"a file in a folder ({above} is none)", "choose another place")
    if not os.access(above, os.W_OK | os.X_OK):
        expected = f"a file in a folder that you may write to ({above})"
        raise InputError(field, str(path), expected, "choose another place")


def _require_encodable(path: str, field: str) -> None:
    if "\0" in path:
        raise InputError(field, path, "a path without null characters", "correct it")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(field, path, "a path in UTF-8", "rename the file or folder") from error
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        expected = f"a path that the encoding of this locale ({error.encoding}) can express"
        raise InputError(field, path, expected, "set LC_ALL=C.UTF-8, or PYTHONUTF8=1") from error


def _require_short(found: str, path: str, field: str) -> None:
    """Refuse a name or path that is too long for the file system."""
    try:
        os.lstat(found)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            remedy = f"shorten it, or check its links ({error.strerror})"
            raise InputError(field, path, "a path that the file system can hold", remedy) from error
