"""Paths that users type: names that a file system takes stay as they are, all others are one sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.user_paths import absolute_path, check_file_to_write


@pytest.mark.parametrize("name", ["a b", "a#b%20", "a\nb", "größe", "'quoted'", "true", "n" * 255, "x~y"])
def test_names_are_kept(name: str, tmp_path: Path) -> None:
    assert absolute_path(name, tmp_path, "volume.path") == str(tmp_path / name)


def test_home_folders_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute_path("~/raw", None, "volume.path") == str(tmp_path / "raw")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert absolute_path("link", tmp_path, "output.path") == str(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["", "n" * 256, "/".join(["d" * 200] * 30), "~no-such-user/x", "a\0b", "a\udcff"])
def test_what_no_file_system_holds_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"volume\.path"):
        absolute_path(name, tmp_path, "volume.path")


def test_a_file_to_write_is_no_device_and_no_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("")
    for name in ("pipe", ".", "text/below", "n" * 300):
        with pytest.raises(InputError, match="--png"):
            check_file_to_write(tmp_path / name, "--png")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    check_file_to_write(tmp_path / "new" / "folder" / "x.png", "--png")
    assert not (tmp_path / "new").exists()
