"""Small files beside the arrays: written whole or not at all, and flushed to disk when asked."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fgnet_pipeline.store.permissions import unreadable


def write_atomic(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write `data` under a temporary name and rename the file: a reader sees the old file, the new one or none.

    Args:
        path: of the file; its folder is made if it does not exist.
        data: the whole content.
        mode: permissions of the file, from which the umask of the process is taken away.

    Raises:
        OSError: the folder cannot be written, or the disk is full; then no temporary file is left.
    """
    write_parts(path, [data], mode)


def write_parts(path: Path, parts: Iterable[bytes], mode: int = 0o666) -> None:
    """Write a file as `write_atomic` does, but from parts, so that not all of it is in memory."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with _renamed(path) as partial, open(os.open(partial, flags, mode), "wb") as stream:
        stream.writelines(parts)


def write_new(path: Path, data: bytes) -> None:
    """Write a new file, whole or not at all. A file of this name is never replaced, even if it came a moment before.

    Args:
        path: of the file; its folder is made if it does not exist.
        data: the whole content.

    Raises:
        FileExistsError: something has this name.
        OSError: the folder cannot be written, or the disk is full; nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as stream:
            stream.write(data)
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Another path beside `path`, for a file that is written piece by piece. At the end it is renamed to `path`.

    Raises:
        OSError: the file cannot be flushed to disk or renamed; nothing of it is left.
    """
    with _renamed(path) as partial:
        yield partial
        flush_to_disk([partial])


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """Another path beside `path`. What lies there at the end is renamed to `path`; after an error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers have left of the file `path`."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write `document` as JSON, whole or not at all."""
    write_atomic(path, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())


def write_private(path: Path, text: str) -> None:
    """Write `text`, whole or not at all, so that only this user can read it."""
    write_atomic(path, text.encode(), mode=0o600)


def read_json(path: Path) -> Any:
    """The document at `path`; None if there is no file or no valid JSON in it.

    Raises:
        InputError: this user may not read the file. None would say that there is none, and work would be repeated.
        OSError: the disk cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None


def flush_to_disk(paths: Iterable[Path]) -> None:
    """Flush (fsync) `paths` and their folders; files that do not exist (empty shards) are skipped."""
    folders: set[Path] = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError), _opened(path) as descriptor:
            os.fsync(descriptor)
            folders.update((path.parent, path.parent.parent))
    for folder in folders:
        with contextlib.suppress(OSError), _opened(folder) as descriptor:
            os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
