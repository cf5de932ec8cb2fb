"""`fgnet verify --repair` and a run after it: what is made again, what stays, and what a run notices by itself."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import zarr
from damage_tools import ONE, assert_mended, assert_untouched, change_record, shard, state, truncate
from pipeline_tools import read, records, state_of

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after
from fgnet_pipeline.verification.verify import verify


def test_what_was_made_of_damage_is_made_again(finished_run: Path, copied_run: tuple[Path, Path]) -> None:
    """The shard of a block is replaced, and then its segmentation is made of it with another threshold and back."""
    config, out = copied_run
    fragments = zarr.open_array(out / "fragments", mode="r+")
    block = np.s_[:24, 24:48, 24:48]
    fragments[block] = np.asarray(fragments[block]).max()  # not zeros: the shard would be gone, which a run notices
    run(load_config(config, ["agglomerate.threshold=0.9"]))
    run(load_config(config))
    assert len(np.unique(read(out, "segmentation")[block])) == 1
    report = verify(load_config(config), repair=True)
    assert {(f.task, f.kind, f.block) for f in report.damage} >= {("fragments", "checksum", ONE)}
    assert {f.block for f in report.damage} == {ONE}
    assert report.requeued["relabel"] == [ONE] and "predict" not in report.requeued
    assert_mended(finished_run, config, out)


def test_what_was_made_of_a_file_of_unknown_age_is_made_again(
    finished_run: Path, copied_run: tuple[Path, Path]
) -> None:
    """If the file is older than its record, all that was made of the block is made again."""
    config, out = copied_run
    change_record(out, "predict", checksum="crc32c:00000000")
    report = verify(load_config(config), repair=True)
    assert [(f.kind, f.task, f.block) for f in report.damage] == [("checksum", "predict", ONE)]
    assert report.requeued["predict"] == [ONE] and ONE in report.requeued["fragments"]
    assert len(report.requeued["relabel"]) == 18
    assert_mended(finished_run, config, out)


def test_a_run_makes_lost_shards_again(finished_run: Path, copied_run: tuple[Path, Path]) -> None:
    """Zarr reads zeros in place of a shard that is gone: no later block may be made of them."""
    config, out = copied_run
    shard(out, "segmentation").unlink()
    shard(out, "affinities").unlink()
    with pytest.raises(DamageError, match="1 blocks of predict are recorded as done, but nothing of them is stored"):
        run(load_config(config), stages_after("predict"))
    finished_before = len(records(out, "edges"))
    assert_mended(finished_run, config, out)
    assert [tuple(r["block"]) for r in records(out, "predict")].count(ONE) == 2
    assert len(records(out, "edges")) == finished_before


def test_a_run_does_not_drop_chunks_without_metadata(finished_run: Path, copied_run: tuple[Path, Path]) -> None:
    config, out = copied_run
    truncate(out / "affinities" / "zarr.json")
    before = state(out)
    with pytest.raises(DamageError, match=r"verify CONFIG --repair"):
        run(load_config(config))
    changed = {out / path for path, content in state(out).items() if before.get(path) != content}
    assert changed <= {state_of(out) / "progress" / "lock", state_of(out) / "config.json"}
    verify(load_config(config), repair=True)
    assert_mended(finished_run, config, out)


def test_strays_of_killed_writers_are_removed_and_other_files_stay(
    finished_run: Path, copied_run: tuple[Path, Path]
) -> None:
    config, out = copied_run
    unfinished = [
        state_of(out) / "tables" / "edges" / "0" / "1" / f".1.parquet.{uuid.uuid4().hex}.partial",
        out / "affinities" / "c" / "0" / "0" / "1" / f"1.{uuid.uuid4().hex}.partial",
        state_of(out) / "progress" / f".driver.json.{uuid.uuid4().hex}.partial",
    ]
    for path in unfinished:
        path.write_bytes(b"half")
    notes = state_of(out) / "tables" / "edges" / "notes.txt"
    notes.write_text("of the lab's own")
    before = state(out)
    report = verify(load_config(config), repair=True)
    assert report.ok and {s.file for s in report.strays} == {str(p) for p in [*unfinished, notes]}
    assert notes.exists() and not any(path.exists() for path in unfinished)
    assert_untouched(before, out, report)
    notes.unlink()
    assert_mended(finished_run, config, out)


@pytest.mark.parametrize("torn", [True, False])
def test_a_torn_last_record_is_no_damage_and_any_other_line_is(
    finished_run: Path, copied_run: tuple[Path, Path], torn: bool
) -> None:
    """A last line cut off is what a killed writer leaves; any other line that is no record is damage."""
    config, out = copied_run
    path = next((state_of(out) / "progress" / "edges").glob("done-*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    if torn:
        lines[-1] = lines[-1][:40]
    else:
        lines[3] = lines[3].replace(b'"run"', b'"rvn"')
    path.write_bytes(b"".join(lines))
    report = verify(load_config(config), repair=True)
    assert sorted(f.kind for f in report.damage) == (["unrecorded"] if torn else ["record", "unrecorded"])
    assert [s.kind for s in report.strays] == (["torn record"] if torn else [])
    assert_mended(finished_run, config, out)
