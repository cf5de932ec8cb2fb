"""Workers with a temporary folder whose path is too long for a socket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from fgnet_pipeline.execution.processes.fork_server import server_with
import math, multiprocessing.util as util
if __name__ == "__main__":
    process = server_with(["math"]).Process(target=math.sqrt, args=(4,))
    process.start(); process.join()
    print(process.exitcode, util.get_temp_dir())
"""


def in_folder(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(folder), **variables}
    (folder.parent / "program.py").write_text(CODE)
    command = [sys.executable, str(folder.parent / "program.py")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.parametrize("name", ["t" * 85, "ü" * 43])
def test_a_long_temporary_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    done = in_folder(folder)
    code, _, place = done.stdout.strip().partition(" ")
    assert code == "0", done.stderr
    assert not place.startswith(str(folder)) and not os.path.exists(place), "it is removed at the end"
    assert not list(folder.iterdir())


def test_a_short_temporary_folder_is_used(tmp_path_factory: pytest.TempPathFactory) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        folder = Path(short) / "t"
        folder.mkdir()
        assert in_folder(folder).stdout.startswith(f"0 {folder}/")


def test_no_folder_is_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing import process

    from fgnet_pipeline.core.errors import InputError
    from fgnet_pipeline.execution.processes import socket_folder

    monkeypatch.setitem(process.current_process()._config, "tempdir", None)  # type: ignore[attr-defined]
    monkeypatch.setattr(socket_folder, "LONGEST", 20)
    with pytest.raises(InputError, match="TMPDIR"):
        socket_folder.settle_socket_folder()
