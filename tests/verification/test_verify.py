"""`fgnet verify`: every kind of damage is found; repaired and run again, every byte is as it was."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pipeline_tools import assert_same_output, cells, fgnet, read, records, standard_config, write_volume

from fgnet_pipeline.commands import cli
from fgnet_pipeline.core.errors import DamageError, InputError, StaleError
from fgnet_pipeline.execution.run import PREDICT, run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after
from fgnet_pipeline.store.tables import Tables
from fgnet_pipeline.verification.verify import Report, verify

SHAPE = (40, 50, 60)
Requeued = dict[str, list[tuple[int, int, int]]]
ONE = (0, 1, 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on 2 x 3 x 3 blocks, an octree of 1 x 2 x 2 leaves and a root."""
    folder = tmp_path_factory.mktemp("verify")
    run(load_config(configuration(folder, write_volume(folder / "raw.zarr", cells(SHAPE)))))
    return folder


def configuration(folder: Path, raw: Path | str) -> Path:
    path = standard_config(folder, str(raw))
    path.write_text(path.read_text().replace("leaf_blocks = 1", "leaf_blocks = 2"))
    return path


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(configuration, output) of a copy of the finished run."""
    shutil.copytree(finished / "out.zarr", tmp_path / "out.zarr")
    return configuration(tmp_path, finished / "raw.zarr"), tmp_path / "out.zarr"


def shard(out: Path, array: str, block: tuple[int, int, int] = ONE) -> Path:
    lead = ("0",) if array == "affinities" else ()
    return out.joinpath(array, "c", *lead, *map(str, block))


def table(out: Path, kind: str, block: tuple[int, int, int] = ONE) -> Path:
    z, y, x = block
    return out / "tables" / kind / str(z) / str(y) / f"{x}.parquet"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def set_voxel(out: Path, array: str, value: int) -> None:
    """Change one voxel of block ONE through Zarr, so that every checksum of the storage fits."""
    opened = zarr.open_array(out / array, mode="r+")
    opened[..., 5, 30, 30] = value


def rewrite(out: Path, kind: str, block: tuple[int, int, int], change: Callable[[dict[str, Any]], Any]) -> None:
    """Other rows in a table, under its own key."""
    tables = Tables(out / "tables", kind, "")
    key, columns = tables.read_key(block), {name: np.array(v) for name, v in tables.read(block).items()}
    tables.write(block, change(columns) or columns, key)


def drop_last(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: values[:-1] for name, values in columns.items()}


def repeat_first(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: np.concatenate([values[:1], values]) for name, values in columns.items()}


def add_to(column: str, amount: int) -> Callable[[dict[str, Any]], None]:
    def change(columns: dict[str, Any]) -> None:
        columns[column][-1] += columns[column].dtype.type(amount)

    return change


def change_record(out: Path, stage: str, **fields: Any) -> None:
    """Change the record of block ONE, or drop it where no fields are given."""
    path = next((out / "progress" / stage).glob("done-*.jsonl"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in [line for line in lines if tuple(line["block"]) == ONE]:
        line.update(fields)
        lines = lines if fields else [other for other in lines if other is not line]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


ROOT = (0, 0, 0)
#: How to damage an output; the kind that is reported; and what is made again.
DAMAGE: dict[str, tuple[Callable[[Path], Any], str, Requeued]] = {
    "shard of affinities gone": (lambda o: shard(o, "affinities").unlink(), "missing", {"predict": [ONE]}),
    "shard of fragments gone": (lambda o: shard(o, "fragments").unlink(), "missing", {"fragments": [ONE]}),
    "shard of segmentation gone": (lambda o: shard(o, "segmentation").unlink(), "missing", {"relabel": [ONE]}),
    "torn shard": (lambda o: truncate(shard(o, "affinities")), "undecodable", {"predict": [ONE]}),
    "empty shard": (lambda o: os.truncate(shard(o, "fragments"), 0), "missing", {"fragments": [ONE]}),
    "flipped byte": (lambda o: flip(shard(o, "affinities"), 20), "undecodable", {"predict": [ONE]}),
    "flipped index": (lambda o: flip(shard(o, "segmentation"), -10), "undecodable", {"relabel": [ONE]}),
    "another affinity": (lambda o: set_voxel(o, "affinities", 77), "checksum", {"predict": [ONE]}),
    "another segment": (lambda o: set_voxel(o, "segmentation", 5), "checksum", {"relabel": [ONE]}),
    "id of another block": (lambda o: set_voxel(o, "fragments", 7), "ids", {"fragments": [ONE]}),
    "torn table": (lambda o: truncate(table(o, "edges")), "undecodable", {"edges": [ONE]}),
    "flipped byte in a table": (lambda o: flip(table(o, "fragments"), 60), "undecodable", {"fragments": [ONE]}),
    "flipped statistics": (lambda o: flip(table(o, "lut-0", ROOT), -60), "undecodable", {"lut-0": [ROOT]}),
    "edge table gone": (lambda o: table(o, "edges").unlink(), "missing", {"edges": [ONE]}),
    "fragment table gone": (lambda o: table(o, "fragments").unlink(), "missing", {"fragments": [ONE]}),
    "merges gone": (lambda o: table(o, "merges-1", ROOT).unlink(), "missing", {"agglomerate-1": [ROOT]}),
    "residual gone": (lambda o: table(o, "residual-0", ROOT).unlink(), "missing", {"agglomerate-0": [ROOT]}),
    "table of another block": (
        lambda o: shutil.copy(table(o, "edges", (0, 0, 0)), table(o, "edges")), "undecodable", {"edges": [ONE]},
    ),
    "fragment left out": (lambda o: rewrite(o, "fragments", ONE, drop_last), "disagrees", {"fragments": [ONE]}),
    "fragment listed twice": (lambda o: rewrite(o, "fragments", ONE, repeat_first), "ids", {"fragments": [ONE]}),
    "id out of range": (lambda o: rewrite(o, "fragments", ONE, add_to("id", 1 << 40)), "ids", {"fragments": [ONE]}),
    "voxel count": (lambda o: rewrite(o, "fragments", ONE, add_to("voxels", 1)), "disagrees", {"fragments": [ONE]}),
    "edge to no fragment": (lambda o: rewrite(o, "edges", ONE, add_to("v", 1 << 20)), "disagrees", {"edges": [ONE]}),
    "sum of an edge": (lambda o: rewrite(o, "edges", ONE, add_to("position", 1)), "checksum", {"edges": [ONE]}),
    "LUT misses a fragment": (lambda o: rewrite(o, "lut-0", ROOT, drop_last), "disagrees", {"lut-0": [ROOT]}),
    "another LUT": (lambda o: rewrite(o, "lut-0", ROOT, add_to("segment", 1)), "checksum", {"lut-0": [ROOT]}),
    "a merge left out": (lambda o: rewrite(o, "merges-0", ROOT, drop_last), "checksum", {"agglomerate-0": [ROOT]}),
    "record lost": (lambda o: change_record(o, "edges"), "unrecorded", {}),
    "record of an array lost": (lambda o: change_record(o, "relabel"), "unrecorded", {}),
    "metadata torn": (lambda o: truncate(o / "fragments" / "zarr.json"), "metadata", {}),
    "metadata gone": (lambda o: (o / "affinities" / "zarr.json").unlink(), "metadata", {}),
    "metadata of another shape": (
        lambda o: (o / "segmentation" / "zarr.json").write_bytes((o / "affinities" / "zarr.json").read_bytes()),
        "metadata", {},
    ),
}  # fmt: skip


def state(out: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and bytes of every file."""
    return {str(p.relative_to(out)): (p.stat().st_mtime_ns, p.read_bytes()) for p in out.rglob("*") if p.is_file()}


def is_bookkeeping(path: str) -> bool:
    return path in ("progress/lock", "progress/driver.json") or "done-withdrawn-" in path


@pytest.mark.parametrize("case", DAMAGE)
def test_damage(finished: Path, place: tuple[Path, Path], case: str) -> None:
    config, out = place
    damage, kind, requeued = DAMAGE[case]
    damage(out)
    before = state(out)
    report = verify(load_config(config))
    assert [f.kind for f in report.damage] == [kind], report.damage
    assert report.requeued == requeued and not report.strays
    assert state(out) == before, "reading back must not write"
    verify(load_config(config), repair=True)
    assert_untouched(before, out, report)
    assert_mended(finished, config, out)


def assert_untouched(before: dict[str, tuple[int, bytes]], out: Path, report: Report) -> None:
    """Repairing changes the files that it names, and nothing else."""
    named = {str(Path(file).relative_to(out)) for finding in report.damage for file in finding.files}
    named |= {str(Path(stray.file).relative_to(out)) for stray in report.strays}
    after = state(out)
    different = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
    assert {p for p in different if not is_bookkeeping(p)} <= named


def assert_mended(finished: Path, config: Path, out: Path) -> None:
    run(load_config(config))
    assert_same_output(finished / "out.zarr", out)
    after = verify(load_config(config))
    assert after.ok and not after.strays and not after.requeued
    assert all(c.left == c.stale == 0 and c.read == c.blocks for c in after.checked.values())


def test_nothing_is_wrong_with_a_finished_run(finished: Path) -> None:
    report = verify(load_config(finished / "config.toml"))
    assert report.ok and not report.strays
    assert {name: c.read for name, c in report.checked.items() if "-" not in name} == dict.fromkeys(
        ("predict", "fragments", "edges", "relabel"), 18
    )


def test_processes_find_the_same(place: tuple[Path, Path]) -> None:
    config, out = place
    flip(shard(out, "affinities"), 20)
    truncate(table(out, "edges", (1, 2, 2)))
    alone = verify(load_config(config))
    assert len(alone.damage) == 2
    assert verify(load_config(config, ["schedule.workers=2"])) == alone


def test_what_was_made_of_damage_is_made_again(finished: Path, place: tuple[Path, Path]) -> None:
    """The shard of a block is replaced, and then its segmentation is made of it with another threshold and back."""
    config, out = place
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
    assert_mended(finished, config, out)


def test_a_file_that_does_not_say_when_it_changed(finished: Path, place: tuple[Path, Path]) -> None:
    """Where the file is older than its record, all that was made of the block is made again."""
    config, out = place
    change_record(out, "predict", checksum="crc32c:00000000")
    report = verify(load_config(config), repair=True)
    assert [(f.kind, f.task, f.block) for f in report.damage] == [("checksum", "predict", ONE)]
    assert report.requeued["predict"] == [ONE] and ONE in report.requeued["fragments"]
    assert len(report.requeued["relabel"]) == 18
    assert_mended(finished, config, out)


def test_run_notices_lost_shards(finished: Path, place: tuple[Path, Path]) -> None:
    """Zarr reads zeros where a shard is gone: no later block may be made of them."""
    config, out = place
    shard(out, "segmentation").unlink()
    shard(out, "affinities").unlink()
    with pytest.raises(DamageError, match="1 blocks of predict are recorded as done, but nothing of them is stored"):
        run(load_config(config), stages_after("predict"))
    finished_before = len(records(out, "edges"))
    assert_mended(finished, config, out)
    assert [tuple(r["block"]) for r in records(out, "predict")].count(ONE) == 2
    assert len(records(out, "edges")) == finished_before


def test_run_does_not_drop_chunks_without_metadata(finished: Path, place: tuple[Path, Path]) -> None:
    config, out = place
    truncate(out / "affinities" / "zarr.json")
    before = state(out)
    with pytest.raises(DamageError, match=r"verify CONFIG --repair"):
        run(load_config(config))
    assert {p for p, v in state(out).items() if before.get(p) != v} <= {"progress/lock", "config.json"}
    verify(load_config(config), repair=True)
    assert_mended(finished, config, out)


def test_strays_of_killed_writers(finished: Path, place: tuple[Path, Path]) -> None:
    config, out = place
    unfinished = [
        out / "tables" / "edges" / "0" / "1" / f".1.parquet.{uuid.uuid4().hex}.partial",
        out / "affinities" / "c" / "0" / "0" / "1" / f"1.{uuid.uuid4().hex}.partial",
        out / "progress" / f".driver.json.{uuid.uuid4().hex}.partial",
    ]
    for path in unfinished:
        path.write_bytes(b"half")
    notes = out / "tables" / "edges" / "notes.txt"
    notes.write_text("of the lab's own")
    before = state(out)
    report = verify(load_config(config), repair=True)
    assert report.ok and {s.file for s in report.strays} == {str(p) for p in [*unfinished, notes]}
    assert notes.exists() and not any(path.exists() for path in unfinished)
    assert_untouched(before, out, report)
    notes.unlink()
    assert_mended(finished, config, out)


@pytest.mark.parametrize("torn", [True, False])
def test_record_lines(finished: Path, place: tuple[Path, Path], torn: bool) -> None:
    """A last line cut off is what a killed writer leaves; any other line that is no record is damage."""
    config, out = place
    path = next((out / "progress" / "edges").glob("done-*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    if torn:
        lines[-1] = lines[-1][:40]
    else:
        lines[3] = lines[3].replace(b'"run"', b'"rvn"')
    path.write_bytes(b"".join(lines))
    report = verify(load_config(config), repair=True)
    assert sorted(f.kind for f in report.damage) == (["unrecorded"] if torn else ["record", "unrecorded"])
    assert [s.kind for s in report.strays] == (["torn record"] if torn else [])
    assert_mended(finished, config, out)


def test_unfinished_run(finished: Path, tmp_path: Path) -> None:
    """Blocks that are not done are no damage; with a mask and a region of interest, too."""
    mask = np.ones((20, 25, 30), np.uint8)
    mask[:, :, :14] = 0
    attributes = {"voxel_size": [20, 20, 20], "offset": [0, 0, 0]}
    config = configuration(tmp_path, finished / "raw.zarr")
    overrides = ["volume.roi=[[50,0,100],[390,410,600]]",
                 f"volume.mask={write_volume(tmp_path / 'mask.zarr', mask, attributes)}"]  # fmt: skip
    run(load_config(config, overrides), PREDICT)
    report = verify(load_config(config, overrides))
    assert report.ok and not report.strays
    assert report.checked["predict"].read == report.checked["fragments"].left == 8
    run(load_config(config, overrides))
    report = verify(load_config(config, overrides))
    assert report.ok and not report.strays and report.checked["relabel"].read == 8
    shutil.copytree(tmp_path / "out.zarr", tmp_path / "undamaged.zarr")
    shard(tmp_path / "out.zarr", "fragments", (1, 0, 2)).unlink()
    assert verify(load_config(config, overrides), repair=True).requeued == {"fragments": [(1, 0, 2)]}
    run(load_config(config, overrides))
    assert_same_output(tmp_path / "undamaged.zarr", tmp_path / "out.zarr")


def test_a_labs_own_arrays(finished: Path, tmp_path: Path) -> None:
    """Affinities and fragments of a lab's own: only what is ours is read back, and its fragments are compared."""
    shutil.copytree(finished / "out.zarr" / "affinities", tmp_path / "affinities")
    shutil.copytree(finished / "out.zarr" / "fragments", tmp_path / "fragments")
    config = standard_config(tmp_path, str(finished / "raw.zarr"))
    overrides = [f"affinities.path={tmp_path / 'affinities'}", f"fragments.path={tmp_path / 'fragments'}"]
    run(load_config(config, overrides))
    assert verify(load_config(config, overrides)).ok
    rewrite(tmp_path / "out.zarr", "fragments", ONE, add_to("voxels", 1))
    report = verify(load_config(config, overrides))
    assert report.requeued == {"fragments": [ONE]} and report.damage[0].kind == "disagrees"


def test_command(place: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    config, out = place
    code, text = command(capsys, config, "--json")
    assert code == 0 and json.loads(text)["ok"] is True and json.loads(text)["damage"] == []
    truncate(shard(out, "fragments"))
    code, text = command(capsys, config)
    assert code == 1 and f"undecodable: fragments block {list(ONE)}" in text and str(shard(out, "fragments")) in text
    code, text = command(capsys, config, "--json", "--repair")
    found = json.loads(text)
    assert code == 1 and found["repaired"] and found["requeued"] == {"fragments": [list(ONE)]}
    assert found["damage"][0]["files"] == [str(shard(out, "fragments"))]
    code, text = command(capsys, config, "--json")
    assert code == 0 and json.loads(text)["checked"]["fragments"]["left"] == 1


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, str]:
    with pytest.raises(SystemExit) as ended:
        cli.guarded(lambda: cli.app(["verify", *map(str, arguments)], standalone_mode=True))
    return ended.value.code, capsys.readouterr().out


@contextlib.contextmanager
def other_process_holds(out: Path) -> Iterator[None]:
    """A driver's lock belongs to its process, so another one must hold it."""
    code = (
        "import sys; from pathlib import Path; from fgnet_pipeline.store.driver_lock import DriverLock\n"
        "lock = DriverLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(out / "progress" / "lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.communicate()


def test_refusals(place: tuple[Path, Path], tmp_path: Path) -> None:
    config, out = place
    with pytest.raises(InputError, match="an output of this program"):
        verify(load_config(config, [f"output.path={tmp_path / 'none.zarr'}"]))
    with pytest.raises(StaleError, match="configuration that made it"):
        verify(load_config(config, ["fragments.boundary_threshold=0.3"]))
    truncate(shard(out, "fragments"))
    before = state(out)
    with other_process_holds(out):
        assert verify(load_config(config)).running
        refused = fgnet("verify", config, "--repair", check=False)
    assert refused.returncode == 2 and "no other run on it" in refused.stderr
    assert {p: v for p, v in state(out).items() if p != "progress/lock"} == {
        p: v for p, v in before.items() if p != "progress/lock"
    }


def test_another_threshold_is_no_damage(place: tuple[Path, Path]) -> None:
    """Tables of the old threshold are stale until the next run, which replaces them."""
    report = verify(load_config(place[0], ["agglomerate.threshold=0.9"]))
    assert report.ok and report.checked["relabel"].stale == report.checked["relabel"].blocks
    assert report.checked["edges"].read == len(records(place[1], "edges"))
