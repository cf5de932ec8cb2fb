"""Errors that nobody foresaw: one line that names the file and the log, and no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from fgnet_pipeline.commands import cli
from fgnet_pipeline.commands.last_resort import faults_logged_in, file_of, last_resort


class Panic(BaseException):
    """As raised by libraries in Rust."""


def read_hdf5(path: Path) -> None:
    path.write_bytes(b"no HDF5")
    h5py.File(path)


def unpack(path: Path) -> None:
    path.write_bytes(b"")
    raise ValueError("not enough\nbytes \x1b[31m")


def recurse(path: Path) -> None:
    recurse(path)


def panic(path: Path) -> None:
    raise Panic("index out of bounds")


def no_memory(path: Path) -> None:
    bytearray(2**62)


#: What happens -> exit code, and what the line names.
FAULTS: dict[Callable[[Path], object], tuple[int, str]] = {
    Path.read_bytes: (2, "No such file or directory; the file is {path}"),
    Path.iterdir: (2, "the file is {path}"),
    read_hdf5: (1, "the file is {path}"),
    unpack: (1, "ValueError: not enough; the file is {path}"),
    recurse: (1, "RecursionError"),
    panic: (1, "Panic: index out of bounds"),
    no_memory: (1, "not enough memory"),
}


@pytest.mark.parametrize("happens", FAULTS, ids=lambda f: f.__name__)
def test_one_line_and_a_log(
    happens: Callable[[Path], object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "größe.h5"
    with pytest.raises(SystemExit) as ended:
        cli.guarded(lambda: list(happens(path) or []))
    code, named = FAULTS[happens]
    line = capsys.readouterr().err
    assert ended.value.code == code and line.startswith("fault: ") and line.count("\n") == 1
    assert named.format(path=path) in line
    log = Path(re.search(r"the traceback is in (\S+)\n", line)[1])
    assert "Traceback (most recent call last)" in log.read_text() and log.parent == tmp_path


def test_without_a_place_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        panic(tmp_path)
    except Panic as error:
        fault = last_resort(error)
    assert fault.log is None and "test_last_resort.py, line" in fault.sentence


def test_a_fault_of_an_element_is_logged_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=str(tmp_path)) as raised, faults_logged_in(tmp_path):
        unpack(tmp_path / "x")
    assert raised.value.fault.log.parent == tmp_path


def test_the_cause_names_the_file() -> None:
    cause = PermissionError(13, "Permission denied", "/data/raw.h5")
    error = RuntimeError("cannot read")
    error.__cause__ = cause
    assert file_of(error) == "/data/raw.h5"
    assert file_of(RuntimeError("x")) is None


def test_an_error_of_an_import_is_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['typer'] = None\nfrom fgnet_pipeline.commands.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (
        done.returncode == 1 and done.stderr.startswith("fault: ModuleNotFoundError") and done.stderr.count("\n") == 1
    )
