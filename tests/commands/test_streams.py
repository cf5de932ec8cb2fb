"""Standard streams that are closed, full or know few characters, and a working directory that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_tools import standard_config

MAIN = f'{sys.executable} -c "from fgnet_pipeline.commands.entry import main; main()"'


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in a folder; FGNET in it is the command."""
    environment = {**os.environ, **variables}
    command = ["bash", "-c", line.replace("FGNET", MAIN)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=folder, env=environment
    )


def test_closed_streams_end_in_no_file(small_raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, small_raw)
    done = shell(f"FGNET run {config} --dry-run <&- >&- 2>&-; echo $?", tmp_path)
    assert done.stdout.strip() == "0"
    code = (
        "from fgnet_pipeline.execution.processes.standard_streams import repair_streams\n"
        "import os, sys; repair_streams(); file = os.open('precious', os.O_CREAT | os.O_WRONLY)\n"
        "os.write(2, b'lost'); print('lost'); sys.stderr.write('lost'); os._exit(file)"
    )
    assert shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-; echo $?', tmp_path).stdout.strip() == "3"
    assert (tmp_path / "precious").read_text() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_results_that_cannot_be_printed_are_a_failure(unbuffered: str, tmp_path: Path) -> None:
    done = shell("FGNET run --help >/dev/full; echo $? >&2", tmp_path, PYTHONUNBUFFERED=unbuffered)
    sentence, code = done.stderr.splitlines()
    assert code == "1" and sentence == "failed: standard output cannot be written (No space left on device)"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_sentences_that_cannot_be_printed_stop_nothing(small_raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, small_raw)
    done = shell(f"FGNET run {config} --set volume.path=nowhere 2>/dev/full; echo $?", tmp_path)
    assert done.stdout.strip() == "2"


def test_a_removed_working_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = shell("cd gone && rmdir ../gone && FGNET --help", tmp_path)
    assert (
        done.returncode == 2
        and done.stderr.startswith("error: working directory")
        and len(done.stderr.splitlines()) == 1
    )


def test_names_that_the_encoding_does_not_know(small_raw: str, tmp_path: Path) -> None:
    folder = tmp_path / "größe #1%20"
    folder.mkdir()
    config = standard_config(folder, small_raw)
    done = shell(f"FGNET status '{config}' --set volume.path=grün", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and "volume.path" in done.stderr and len(done.stderr.splitlines()) == 1
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell("FGNET status config.toml --set volume.path=$'gr\\xc3\\xbcn'", folder, **plain)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
