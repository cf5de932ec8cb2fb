"""What holds for every export, shown by a format of another distribution: workers, kills, resume, refusals."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pipeline_tools import Command, Refused, files_of, read, records, run_on_cells, wait_for_records


def _assembled(folder: Path, shape: tuple[int, int, int], dtype: str) -> np.ndarray:
    whole = np.zeros(shape, dtype)
    for path in folder.glob("*.npy"):
        begin = [int(part) for part in path.stem.split("-")]
        block = np.load(path)
        assert block.dtype == dtype
        whole[tuple(slice(b, b + n) for b, n in zip(begin, block.shape, strict=True))] = block
    return whole


def test_blocks_are_those_of_the_segmentation(
    finished_run: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    to = tmp_path / "blocks"
    code, _, told = command("export", finished_run / "out.zarr", "blocks", "--to", to)
    assert (code, told.splitlines()[-1].startswith("finished in")) == (0, True), told
    segmentation = read(finished_run / "out.zarr", "segmentation")
    np.testing.assert_array_equal(_assembled(to, segmentation.shape, "uint64"), segmentation)


def test_compact_ids_are_ranks_and_the_table_leads_back(
    finished_run: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    to = tmp_path / "blocks"
    assert command("export", finished_run / "config.toml", "blocks", "--to", to, "--compact-ids")[0] == 0
    segmentation = read(finished_run / "out.zarr", "segmentation")
    ids = np.union1d(segmentation, np.zeros(1, np.uint64))
    compact = _assembled(to, segmentation.shape, "uint32")
    np.testing.assert_array_equal(compact, np.searchsorted(ids, segmentation))
    table = pq.read_table(tmp_path / "blocks.ids.parquet")
    stored, ranks = (np.asarray(table[name]) for name in ("id", "compact"))
    assert stored.dtype == np.uint64
    np.testing.assert_array_equal(stored[np.argsort(ranks)], ids[1:])
    np.testing.assert_array_equal(np.sort(ranks), np.arange(1, len(ids)))


def test_the_same_command_again_computes_nothing(
    finished_run: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    arguments = ("export", finished_run / "out.zarr", "blocks", "--to", tmp_path / "blocks")
    command(*arguments)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "blocks").iterdir()}
    code, shown, _ = command(*arguments, "--dry-run")
    assert (code, shown.split()) == (0, ["save-blocks", "0", "of", "18", "blocks", "to", "compute"])
    assert command(*arguments)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "blocks").iterdir()}


def test_a_deleted_target_is_written_anew(finished_run: Path, tmp_path: Path, toy_here: None, command: Command) -> None:
    to = tmp_path / "blocks"
    arguments = ("export", finished_run / "out.zarr", "blocks", "--to", to)
    command(*arguments)
    whole = files_of(tmp_path, "blocks")
    shutil.rmtree(to)
    assert command(*arguments)[0] == 0
    assert files_of(tmp_path, "blocks") == whole


def test_a_killed_export_continues_and_ends_with_the_same_bytes(
    finished_run: Path, tmp_path: Path, toy_format: dict[str, str], toy_here: None, command: Command
) -> None:
    undisturbed, to = tmp_path / "undisturbed", tmp_path / "blocks"
    command("export", finished_run / "out.zarr", "blocks", "--to", undisturbed, "--compact-ids")
    arguments = ["export", finished_run / "out.zarr", "blocks", "--to", to, "--compact-ids", "--workers", 2]
    entry = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments)]
    with subprocess.Popen(entry, env=toy_format, stderr=subprocess.DEVNULL) as process:
        wait_for_records(tmp_path / "blocks.progress", "save-blocks", 1, process)
        process.send_signal(signal.SIGKILL)
    done = len(records(tmp_path / "blocks.progress", "save-blocks"))
    assert command(*arguments)[0] == 0
    assert files_of(tmp_path, "blocks") == files_of(tmp_path, "undisturbed")
    assert done >= 1


def test_a_grown_region_adds_its_blocks(tmp_path: Path, toy_here: None, command: Command) -> None:
    folder = run_on_cells(tmp_path / "run", (24, 24, 72), overrides=("volume.roi=[[0,0,0],[240,240,480]]",))
    arguments = ("export", folder / "config.toml", "blocks", "--to", tmp_path / "blocks", "--workers", "0")
    roi = ("--set", "volume.roi=[[0,0,0],[240,240,480]]")
    assert command(*arguments, *roi)[0] == 0
    assert command("run", folder / "config.toml", "--yes")[0] == 0
    assert command(*arguments)[0] == 0
    segmentation = read(folder / "out.zarr", "segmentation")
    np.testing.assert_array_equal(_assembled(tmp_path / "blocks", segmentation.shape, "uint64"), segmentation)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_other_data_at_the_target_stay(
    kind: str, finished_run: Path, tmp_path: Path, toy_here: None, refused: Refused
) -> None:
    to = tmp_path / "there"
    if kind == "file":
        to.write_text("mine")
    elif kind == "folder":
        to.mkdir()
        (to / "mine").write_text("mine")
    else:
        to.symlink_to(tmp_path / "nowhere")
    assert "nothing lies yet" in refused("export", finished_run / "out.zarr", "blocks", "--to", to)
    assert kind != "folder" or [path.name for path in to.iterdir()] == ["mine"]
    assert not (tmp_path / "there.progress").exists()


def test_an_export_with_other_options_or_of_another_threshold_is_refused(
    copied_run: tuple[Path, Path], tmp_path: Path, toy_here: None, command: Command, refused: Refused
) -> None:
    config, output = copied_run
    to = tmp_path / "blocks"
    assert command("export", output, "blocks", "--to", to)[0] == 0
    before = files_of(tmp_path, "blocks")
    assert "compact_ids" in refused("export", output, "blocks", "--to", to, "--compact-ids")
    assert command("agglomerate", config, "--set", "agglomerate.threshold=0.9")[0] == 0
    assert "threshold" in refused("export", output, "blocks", "--to", to)
    assert files_of(tmp_path, "blocks") == before


def test_an_unfinished_result_is_refused(
    unfinished_run: Path, tmp_path: Path, toy_here: None, refused: Refused
) -> None:
    sentence = refused("export", unfinished_run, "blocks", "--to", tmp_path / "blocks")
    assert "18 of 18 blocks missing" in sentence and "fgnet run" in sentence
    assert not list(tmp_path.iterdir())


def test_unknown_formats_and_options_are_refused(
    finished_run: Path, tmp_path: Path, toy_here: None, refused: Refused
) -> None:
    output, to = finished_run / "out.zarr", tmp_path / "blocks"
    assert "one of" in refused("export", output, "bloks", "--to", to)
    assert "--levels" in refused("export", output, "blocks", "--to", to, "--levels", 2)
    assert "--segment" in refused("export", output, "blocks", "--to", to, "--segment", "x")
    assert "--to" in refused("export", output, "blocks", "--to", "https://example.org/blocks")
    assert not list(tmp_path.iterdir())


def test_records_say_what_the_export_is_made_of(
    finished_run: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    command("export", finished_run / "out.zarr", "blocks", "--to", tmp_path / "blocks")
    document = json.loads((tmp_path / "blocks.progress" / "export.json").read_text())
    assert document["made_of"]["format"] == "blocks"
    assert document["made_of"]["lut-0"]["threshold"] == 0.5
