"""A result is named by its configuration file or by its output, moved or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipeline_tools import Command, Refused


def test_an_output_stands_for_its_configuration(copied_run: tuple[Path, Path], command: Command) -> None:
    config, output = copied_run
    for arguments in (["status"], ["verify"]):
        code, by_output, _ = command(*arguments, output, "--json")
        assert code == 0
        _, by_file, _ = command(*arguments, config, "--json")
        assert _without_times(by_output) == _without_times(by_file)


def test_a_moved_output_is_found_where_it_is_now(
    copied_run: tuple[Path, Path], tmp_path: Path, command: Command
) -> None:
    _, output = copied_run
    moved = tmp_path / "elsewhere" / "moved.zarr"
    moved.parent.mkdir()
    shutil.move(output, moved)
    (moved / "segmentation" / "zarr.json").write_text("{")
    code, out, _ = command("verify", moved)
    assert code == 1
    assert str(moved) in out
    assert not output.exists()


def test_a_folder_that_is_no_output_is_refused(tmp_path: Path, refused: Refused) -> None:
    assert "CONFIG|OUTPUT" in refused("status", tmp_path)


def _without_times(text: str) -> dict[str, object]:
    return {key: value for key, value in json.loads(text).items() if "second" not in key and key != "log"}
