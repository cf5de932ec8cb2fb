"""Outputs that several users share: what this user may not read or write is refused in one sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from fgnet_pipeline.core.errors import InputError


def unreadable(path: Path | str, error: OSError) -> InputError:
    """The error of a file or folder of an output that this user may not read."""
    expected = f"a file or folder that you may read ({error.strerror})"
    return InputError("output.path", str(path), expected, "have its owner run `chmod -R g+rX` on the output")


def require_listable(root: Path) -> None:
    """Check that the records of an output can be listed. A listing passes over folders that it may not read.

    Args:
        root: folder of the output, or of its state; it need not exist.

    Raises:
        InputError: a folder that may not be read; the sentence names it.
    """
    for folder in (root, root / "progress", *_folders_in(root / "progress")):
        try:
            folder.stat()
        except PermissionError as error:  # of a folder above
            raise unreadable(folder, error) from error
        except OSError:
            continue
        if not os.access(folder, os.R_OK | os.X_OK):
            raise unreadable(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def require_writable(root: Path, state: Path, field: str) -> None:
    """Check that a run may write to the folders of an output that exist already.

    Single files are not looked at: there may be millions of them.

    Args:
        root: folder of the output; it need not exist.
        state: folder of what is no array in it.
        field: the key that names it.

    Raises:
        InputError: a folder that may not be written, or a file in place of one; the sentence names it.
    """
    for folder in _written(root, state):
        if not os.path.lexists(folder):
            continue
        if not folder.is_dir():
            raise InputError(field, str(folder), "a folder, which a run writes to", "move the file away")
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            remedy = f"have it mounted for writing, or choose another {field}"
            raise InputError(field, str(folder), "a file system that is not read-only", remedy)
        if not os.access(folder, os.W_OK | os.X_OK):
            remedy = f"have its owner run `chmod -R g+w` on the output, or choose another {field}"
            raise InputError(field, str(folder), "a folder that you may write to", remedy)


def _written(root: Path, state: Path) -> Iterator[Path]:
    """The folders of an output that a run may write to, as far as they are known without a listing of blocks."""
    yield from (root, *([] if state == root else [state.parent]), state)
    yield from (state / "progress", state / "tables", state / "logs")
    for parent in (state / "progress", state / "tables"):
        yield from _folders_in(parent)
    for array in _folders_in(root):
        if (array / "zarr.json").exists():
            yield from (array, array / "c")


def _folders_in(parent: Path) -> list[Path]:
    """The folders in a folder; none if it cannot be listed."""
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []
