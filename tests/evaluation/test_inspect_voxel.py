"""`fgnet inspect --at`: the values are those of the arrays, and the blocks those of the records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Command, Refused, read, records, standard_config, state_of, write_volume

from fgnet_pipeline.commands.inspect import BLOCK_TITLES
from fgnet_pipeline.commands.tables import table
from fgnet_pipeline.core.named_voxel import named_voxel
from fgnet_pipeline.evaluation.inspect_voxel import inspect_voxel
from fgnet_pipeline.stages.configuration import load_config, load_result

VOXEL, BLOCK = (30, 40, 50), [1, 1, 2]  # of blocks of 24 voxels


def test_a_voxel_of_a_finished_run(finished_run: Path, command: Command) -> None:
    out = finished_run / "out.zarr"
    found = inspect_voxel(load_result(str(out)), "30,40,50")
    assert (found.voxel, found.nm, found.in_region, found.is_tissue) == (VOXEL, [305, 405, 505], True, None)
    assert found.raw == read(finished_run, "raw.zarr")[VOXEL]
    assert found.fragment == read(out, "fragments")[VOXEL] and found.segment == read(out, "segmentation")[VOXEL]
    assert found.affinities == (read(out, "affinities")[:, 30, 40, 50] / 255).tolist()
    assert found.neighbourhood == [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
    for state in found.blocks:
        (record,) = [r for r in records(out, state.task) if r["block"] == state.block]
        assert (state.key, state.state) == (record["key"], "done"), state.task
        assert all(b <= v < e for b, v, e in zip(state.begin, VOXEL, state.end, strict=True))
    blocks = {state.task: state for state in found.blocks}
    assert blocks["predict"].block == BLOCK and (blocks["predict"].begin, blocks["predict"].end) == (
        [24, 24, 48], [40, 48, 60],
    )  # fmt: skip
    assert {"predict", "fragments", "edges", "agglomerate-0", "agglomerate-1", "lut-0", "lut-1", "relabel"} == set(
        blocks
    )
    # In nanometres, and with the segment as `inspect SEGMENT` explains it.
    code, said, _ = command("inspect", out, "--at", "304.9, 400, 509.9nm", "--json")
    document = json.loads(said)
    assert code == 0 and document["voxel"] == list(VOXEL) and document["segment"] == str(found.segment)
    code, said, _ = command("inspect", out, found.segment, "--json")
    assert document["inspection"] == json.loads(said)
    code, said, _ = command("inspect", out, "--at", "30,40,50")
    assert code == 0 and f"segment: {found.segment}\n" in said and "largest fragments" in said
    assert "fragments      1,1,2" in " ".join(said.split("\n")) and blocks["fragments"].key in said


def test_a_voxel_of_an_unfinished_run(copied_run: tuple[Path, Path], command: Command) -> None:
    config, out = copied_run
    shutil.rmtree(state_of(out) / "progress" / "relabel")
    for file in (state_of(out) / "progress" / "fragments").glob("done-*.jsonl"):
        lines = [line for line in file.read_text().splitlines(keepends=True) if json.loads(line)["block"] != BLOCK]
        file.write_text("".join(lines))
    failure = {"stage": "fragments", "block": BLOCK, "error": "Traceback\nValueError: bad", "log": "a.log", "time": 1.0}
    (state_of(out) / "progress" / "fragments" / "failed-1.jsonl").write_text(json.dumps(failure) + "\n")
    found = inspect_voxel(load_config(config), "30,40,50")
    assert found.raw is not None and found.affinities is not None
    assert found.fragment is None and found.segment is None
    blocks = {state.task: state for state in found.blocks}
    assert (blocks["fragments"].state, blocks["fragments"].error) == ("failed", "ValueError: bad")
    assert blocks["relabel"].state == "not computed" and blocks["edges"].state == "done"
    code, said, _ = command("inspect", config, "--at", "30,40,50")
    assert code == 0 and "segment: not known" in said and "ValueError: bad (a.log)" in said
    code, said, _ = command("inspect", config, "--at", "0,0,0")
    assert code == 0 and "segment: not known" in said


def test_outside_the_region_and_the_mask(small_raw: str, tmp_path: Path, command: Command) -> None:
    tissue = np.zeros((30, 30, 30), np.uint8)
    tissue[:24, :24, :24] = 1
    mask = write_volume(tmp_path / "m.zarr", tissue)
    config = standard_config(tmp_path, small_raw)
    given = ["--set", "volume.roi=[[0,0,0],[240,300,300]]", "--set", f"volume.mask={mask}"]
    assert command("run", config, *given, "--yes")[0] == 0
    overrides = given[1::2]
    far = inspect_voxel(load_config(config, overrides), "29,10,10")
    assert not far.in_region and far.is_tissue is False
    assert {state.state for state in far.blocks if state.task == "predict"} == {"outside the region"}
    bare = inspect_voxel(load_config(config, overrides), "10,28,10")
    assert bare.in_region and bare.is_tissue is False and bare.fragment == 0 and bare.segment == 0
    assert {state.state for state in bare.blocks if state.task == "relabel"} == {"no tissue"}
    code, said, _ = command("inspect", config, *given, "--at", "29,10,10")
    assert code == 0 and "outside the region of interest" in said and "the mask has no tissue here" in said


@pytest.mark.parametrize("at", ["40,0,0", "-1,0,0", "1,2", "a,b,c", "1.5,2,3", "400,0,0nm", "1,2,nm", "nan,1,1nm"])
def test_places_that_are_none(at: str, finished_run: Path, refused: Refused) -> None:
    assert "--at = " in refused("inspect", finished_run / "out.zarr", f"--at={at}")


def test_one_question_at_a_time(finished_run: Path, refused: Refused) -> None:
    assert "SEGMENT" in refused("inspect", finished_run / "out.zarr", 5, "--at", "1,1,1")
    assert "SEGMENT" in refused("inspect", finished_run / "out.zarr")


def test_positions_in_nanometres() -> None:
    frame = ((100.0, 0.0, 0.0), (40.0, 4.5, 4.5))
    assert named_voxel("140,9,8.9nm", (3, 3, 3), frame) == (1, 2, 1)
    assert named_voxel("0,1,2", (3, 3, 3)) == (0, 1, 2)


def test_the_table_of_blocks_fits_a_terminal() -> None:
    row = ["agglomerate-0", "100,100,100", "28800,28800,28800 to 28900,28900,28900", "0123456789abcdef", "done"]
    assert max(map(len, table(BLOCK_TITLES, [row], left=5, columns=80))) <= 80


def test_a_damaged_chunk(copied_run: tuple[Path, Path], command: Command) -> None:
    config, out = copied_run
    shard = out / "segmentation" / "c" / "1" / "1" / "2"
    shard.write_bytes(b"\0" * len(shard.read_bytes()))
    code, said, _ = command("inspect", config, "--at", "30,40,50")
    assert code == 0 and "segmentation cannot be read here" in said and "segment: not known" in said
