"""A disk that is full or read-only: one sentence and what to do about it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fgnet_pipeline.core.errors import DiskFullError, InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
#: Bytes below which a file system cannot even take the record of a failure and a log.
LEAST_ROOM = 1 << 16


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Errors of the file system that holds ``root`` become sentences.

    Raises:
        InputError: it is read-only. DiskFullError: it is full, or a quota is used up.
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
    """Whether an error says that a disk is full."""
    return any(f"[Errno {number}]" in text for number in FULL)


def is_full(root: Path, errors: str = "") -> bool:
    """Whether the file system is full now, or ``errors`` say that it was."""
    return says_full(errors) or shutil.disk_usage(root).free < LEAST_ROOM


def full_sentence(root: Path) -> str:
    """What to do about a full disk."""
    free = shutil.disk_usage(root).free
    return (
        f"no space is left on the disk of {root} ({free} bytes free): make room, or raise the quota, and run the same "
        "command again; nothing half-written counts as done"
    )
