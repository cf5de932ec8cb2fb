"""Pyramids that lost files, grew, or were asked for at a wrong place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from pipeline_tools import Command, Refused, files_of, run_on_cells

#: Format -> further arguments of the command.
FORMATS = {"ome-zarr": ("--levels", "3"), "precomputed": ("--levels", "3", "--compact-ids")}


@pytest.mark.parametrize("format_", FORMATS)
def test_a_finished_export_is_left_alone_and_a_lost_file_written_again(
    format_: str, finished_run: Path, tmp_path: Path, command: Command
) -> None:
    to = tmp_path / "there"
    arguments = ("export", finished_run / "out.zarr", format_, "--to", to, *FORMATS[format_])
    command(*arguments)
    shards = sorted(path for path in to.rglob("*") if path.is_file() and path.stat().st_size > 0
                    and path.suffix != ".json" and "info" not in path.name)  # fmt: skip
    times = {path: path.stat().st_mtime_ns for path in shards}
    whole = files_of(tmp_path, "there")
    assert command(*arguments)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in shards} == times
    for path in (shards[0], shards[-1]):
        path.unlink()
    (to / ".0.0123456789abcdef0123456789abcdef.partial").touch()  # as a killed writer leaves it
    assert command(*arguments)[0] == 0
    assert files_of(tmp_path, "there") == whole
    assert sum(path.stat().st_mtime_ns != times[path] for path in shards) == 2
    assert not list(to.rglob(".*.partial"))


def test_lost_metadata_of_a_level_bring_the_level_back(finished_run: Path, tmp_path: Path, command: Command) -> None:
    arguments = ("export", finished_run / "out.zarr", "ome-zarr", "--to", tmp_path / "there", "--levels", 2)
    command(*arguments)
    whole = files_of(tmp_path, "there")
    (tmp_path / "there" / "1" / "zarr.json").unlink()
    assert command(*arguments)[0] == 0
    assert files_of(tmp_path, "there") == whole


def test_level_0_has_the_shards_of_the_result_as_files_of_its_own(
    finished_run: Path, tmp_path: Path, command: Command
) -> None:
    to = tmp_path / "there"
    command("export", finished_run / "out.zarr", "ome-zarr", "--to", to, "--array", "segmentation", "--levels", 1)
    source, target = finished_run / "out.zarr" / "segmentation" / "c", to / "segmentation" / "0" / "c"
    assert files_of(target.parent, "c") == files_of(source.parent, "c") != {}
    assert all(path.stat().st_nlink == 1 for path in target.rglob("*") if path.is_file())


def test_a_damaged_shard_of_the_result_is_not_copied(finished_run: Path, tmp_path: Path, command: Command) -> None:
    shutil.copytree(finished_run / "out.zarr", tmp_path / "out.zarr")
    source = tmp_path / "out.zarr" / "segmentation"
    shard = sorted(path for path in (source / "c").rglob("*") if path.is_file())[0]
    whole = shard.read_bytes()
    arguments = ("export", tmp_path / "out.zarr", "ome-zarr", "--to", tmp_path / "there", "--array", "segmentation")
    target = tmp_path / "there" / "segmentation" / "0" / shard.relative_to(source)
    for damaged in (whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], whole[:-1]):
        shard.write_bytes(damaged)
        code, _, told = command(*arguments, "--levels", 1)
        assert code == 1
        assert "damaged" in told
        assert not target.exists()
    shard.write_bytes(whole)
    assert command(*arguments, "--levels", 1)[0] == 0
    assert target.read_bytes() == whole


@pytest.mark.parametrize("format_", FORMATS)
def test_a_grown_region_ends_like_an_export_of_all_of_it(
    format_: str, small_grown: tuple[Path, Path], tmp_path: Path, command: Command
) -> None:
    before, after = small_grown
    arguments = (format_, "--to", tmp_path / "grown", *FORMATS[format_])
    assert command("export", before / "config.toml", *arguments, "--set", "volume.roi=[[0,0,0],[240,240,400]]")[0] == 0
    # The same result, grown: its output takes the place of the first.
    shutil.move(before / "out.zarr", before / "first.zarr")
    os.symlink(after / "out.zarr", before / "out.zarr")
    try:
        assert command("export", before / "config.toml", *arguments)[0] == 0
    finally:
        (before / "out.zarr").unlink()
        shutil.move(before / "first.zarr", before / "out.zarr")
    whole = (format_, "--to", tmp_path / "whole", *FORMATS[format_])
    assert command("export", after / "config.toml", *whole)[0] == 0
    assert files_of(tmp_path, "grown") == files_of(tmp_path, "whole")


@pytest.fixture(scope="module")
def small_grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a run over a part of a volume, and of a run over all of the same volume."""
    region = "volume.roi=[[0,0,0],[240,240,400]]"
    before = run_on_cells(tmp_path_factory.mktemp("before"), (24, 24, 72), overrides=(region,))
    after = run_on_cells(tmp_path_factory.mktemp("after"), (24, 24, 72))
    return before, after


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_data_at_the_target_stay(
    kind: str, format_: str, finished_run: Path, tmp_path: Path, refused: Refused
) -> None:
    to = tmp_path / "there"
    if kind == "folder":
        to.mkdir()
    held = to / "notes.txt" if kind == "folder" else to
    held.write_text("mine")
    assert "--to" in refused("export", finished_run / "out.zarr", format_, "--to", to)
    assert held.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_table_of_ids_is_not_overwritten(finished_run: Path, tmp_path: Path, refused: Refused) -> None:
    table = tmp_path / "there.ids.parquet"
    table.write_text("mine")
    text = refused("export", finished_run / "out.zarr", "precomputed", "--to", tmp_path / "there", "--compact-ids")
    assert "table of ids" in text
    assert table.read_text() == "mine"


@pytest.mark.parametrize("format_", FORMATS)
def test_an_unfinished_result_is_refused(format_: str, unfinished_run: Path, tmp_path: Path, refused: Refused) -> None:
    assert "finished" in refused("export", unfinished_run, format_, "--to", tmp_path / "there")
    assert list(tmp_path.iterdir()) == []
