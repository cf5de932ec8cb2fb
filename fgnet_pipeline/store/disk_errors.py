"""A disk that is full or read-only: what the user is told, and what to do about it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fgnet_pipeline.core.errors import DiskFullError, InputError

#: Errors that mean that the disk is full or that a quota is used up.
FULL = (errno.ENOSPC, errno.EDQUOT)
#: With fewer free bytes than this, a file system has no room for the record of a failure and a log.
LEAST_ROOM = 1 << 16


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn errors of a file system into errors with a sentence for the user.

    Args:
        root: a folder on it.

    Raises:
        InputError: the file system is read-only.
        DiskFullError: it is full, or a quota is used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EROFS:
            remedy = "have it mounted for writing, or choose another output.path"
            raise InputError("output.path", str(root), "a file system that is not read-only", remedy) from error
        if error.errno in FULL:
            raise DiskFullError(full_sentence(root)) from error
        raise


def says_full(text: str) -> bool:
    """Whether the text of an error says that a disk is full."""
    return any(f"[Errno {number}]" in text for number in FULL)


def is_full(root: Path, errors: str = "") -> bool:
    """Whether the file system of the folder `root` is full now, or the text `errors` says that it was full."""
    return says_full(errors) or shutil.disk_usage(root).free < LEAST_ROOM


def full_sentence(root: Path) -> str:
    """What to tell the user about the full disk that holds `root`."""
    free = shutil.disk_usage(root).free
    return (
        f"no space is left on the disk of {root} ({free} bytes free): make room, or raise the quota, and run the same "
        "command again; nothing half-written counts as done"
    )
