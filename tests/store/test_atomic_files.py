"""Files that are written whole or not at all, and the lock of the driver."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from fgnet_pipeline.store.atomic_files import write_atomic, write_private
from fgnet_pipeline.store.driver_lock import is_held


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for data in (b"first", b""):
        write_atomic(path, data)
        assert path.read_bytes() == data and list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_private_file_can_be_read_by_its_user_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", "key")
    assert (tmp_path / "secret").read_text() == "key"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_file_system_without_locks_holds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(error: int) -> None:
        def lockf(*_: object) -> None:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(os, "lockf", lockf)

    (tmp_path / "lock").touch()
    refuse(errno.ENOLCK)
    assert not is_held(tmp_path / "lock")
    for held in (errno.EACCES, errno.EAGAIN):
        refuse(held)
        assert is_held(tmp_path / "lock")
