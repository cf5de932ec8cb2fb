"""Reading done records as columns: the same answer as going over them one by one, whatever is torn."""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_tools import standard_config, write_volume

from fgnet_pipeline.core.geometry import Box, Vector, indices, vector
from fgnet_pipeline.execution.resume import voxels_where
from fgnet_pipeline.execution.run import open_planned
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stage_names
from fgnet_pipeline.store.records.columns import parse
from fgnet_pipeline.store.records.latest import Latest
from fgnet_pipeline.store.records.progress import Progress
from fgnet_pipeline.store.records.record import NEEDED, Record, is_record
from fgnet_pipeline.store.records.results import latest_results
from fgnet_pipeline.store.records.writer import RecordWriter

BLOCKS = Box((1, 0, 2), (3, 2, 4))
FULL = {"stage": "s", "read": [[0, 0, 0], [9, 9, 9]], "inputs": "00", "checksum": "crc32c:0", "nonzero": 1}
KEYS = ["", "00000000000000ff", "ffffffffffffff00", "0123456789abcdef"]
LINES = st.one_of(
    st.fixed_dictionaries(
        {
            "block": st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 4)),
            "key": st.sampled_from(KEYS),
            "run": st.integers(1, 3),
            "finished": st.sampled_from([0.0, 1.0, 2.5, 1.7e9]),
        },
        optional={
            "seconds": st.sampled_from([0.25, 3.0]),
            "voxels": st.integers(0, 1 << 40),
            "peak_memory": st.integers(0, 1 << 40),
            "host": st.sampled_from(["node1", "node2"]),
        },
    ).map(lambda record: json.dumps({**FULL, **record}).encode()),
    st.sampled_from(
        [b"", b"\0\0\0", b'{"stage": "s", "blo', b"5", b'{"block": [1, 0], "key": "", "run": 1, "finished": 1}',
         b'{"stage": "s", "block": [1, 0, 2], "key": "00{"stage": "s", "block": [1, 0, 3]}', b"\xff\xfe", b"[]"]
    ),
)  # fmt: skip


def one_by_one(lines: list[bytes]) -> dict[Vector, int]:
    """Block -> key of the latest record of each block of BLOCKS, going over the lines in plain Python."""
    latest: dict[Vector, tuple[int, float, str]] = {}
    for line in lines:
        try:
            record: Any = json.loads(line)
            z, y, x = record["block"]
        except (ValueError, TypeError):
            continue
        entry = (record["run"], record["finished"], record["key"])
        latest[z, y, x] = max(entry, latest.get((z, y, x), entry))
    return {b: int(latest.get(b, (0, 0, "0"))[2] or "0", 16) for b in indices(BLOCKS)}


def by_block(latest: Latest) -> dict[Vector, int]:
    return {b: int(latest.key[tuple(np.subtract(b, BLOCKS.begin))]) for b in indices(BLOCKS)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(LINES, max_size=12), min_size=1, max_size=3), st.data())
def test_the_latest_records_are_those_that_a_loop_finds(tmp_path: Path, files: list[list[bytes]], data: Any) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    texts = [b"".join(line + b"\n" for line in lines) for lines in files]
    cuts = [data.draw(st.integers(0, len(text))) for text in texts]
    for number, (text, cut) in enumerate(zip(texts, cuts, strict=True)):
        (folder / f"done-{number}.jsonl").write_bytes(text[:cut])
    latest = Latest(folder, BLOCKS).update()  # of files that end anywhere, as if their writers were at it
    for number, text in enumerate(texts):
        (folder / f"done-{number}.jsonl").write_bytes(text)
    expected = one_by_one([line for lines in files for line in lines])
    assert by_block(Latest(folder, BLOCKS).update()) == expected
    assert by_block(latest.update()) == expected, "reading what was appended gives what reading everything gives"
    assert latest.totals == Latest(folder, BLOCKS).update().totals


def test_totals_count_what_was_computed(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    record = {**FULL, "key": KEYS[1], "seconds": 2.0, "voxels": 10, "peak_memory": 7}
    rows = [
        {**record, "block": [1, 0, 2], "run": 1, "finished": 100.0, "host": "a"},
        {**record, "block": [1, 0, 3], "run": 2, "finished": 210.0, "host": "b", "peak_memory": 9},
        {**record, "block": [9, 9, 9], "run": 2, "finished": 214.0, "host": "b", "seconds": 5.0},
        {"stage": "s", "block": [1, 0, 2], "key": "", "run": 2, "finished": 0.0},
    ]
    (tmp_path / "s" / "done-x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    totals = Progress(tmp_path).latest("s", BLOCKS).totals
    assert (totals.blocks, totals.seconds, totals.peak_memory, totals.hosts) == (3, 9.0, 9, {"a", "b"})
    assert (totals.runs[2].voxels, totals.runs[2].begin, totals.runs[2].end) == (20, 208.0, 214.0)


def test_dropped_records_are_forgotten(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    (tmp_path / "s").mkdir()
    row = {**FULL, "block": [1, 0, 2], "key": KEYS[1], "run": 1, "finished": 1.0}
    (tmp_path / "s" / "done-x.jsonl").write_text(json.dumps(row) + "\n")
    latest, before = progress.latest("s", BLOCKS), progress.signature("s")
    assert latest.key.any() and latest.totals.blocks == 1
    progress.forget("s")
    assert not latest.update().key.any() and latest.totals.blocks == 0 and progress.signature("s") != before


def test_a_key_that_is_no_key_vouches_for_nothing() -> None:
    rows = [{**FULL, "block": [0, 0, 0], "key": key, "run": 1, "finished": 1.0} for key in ("zz", KEYS[1], "")]
    keys = parse("".join(json.dumps(row) + "\n" for row in rows).encode(), ())["key"]
    assert keys[0] not in (0, 255) and list(keys[1:]) == [255, 0]


def test_voxels_of_blocks_are_those_that_they_write(tmp_path: Path) -> None:
    raw = write_volume(tmp_path / "raw", np.ones((50, 40, 45), np.uint8))
    config = load_config(standard_config(tmp_path, raw), ["volume.roi=[[70,30,0],[430,400,410]]"])
    job = open_planned(config, stage_names())
    blocks = job.plan.blocks("predict")
    chosen = np.random.default_rng(0).random(blocks.shape) < 0.6
    expected = sum(job.plan.write_box("predict", vector(b + blocks.begin)).size for b in np.argwhere(chosen))
    assert voxels_where(job, "predict", chosen) == expected > 0


def test_the_writer_and_the_reader_take_the_fields_of_the_record(tmp_path: Path) -> None:
    """Whoever adds a field to the record need not tell the reader; records that lack it are read."""
    names = [f.name for f in fields(Record) if f.name not in ("block", "read")]
    values: dict[str, Any] = {**FULL, "block": (1, 0, 2), "key": KEYS[1], "voxels": 8, "seconds": 0.5}
    values |= {"finished": 9.0, "host": "a", "peak_memory": 7, "run": 3}
    with RecordWriter(tmp_path, "s", "log") as writer:
        writer.add(Record(**values), [])
    (written,) = tmp_path.glob("s/done-*.jsonl")
    line = json.loads(written.read_text())
    assert list(line) == [f.name for f in fields(Record)]
    found = parse(written.read_bytes(), names)
    assert found["block"].tolist() == [[1, 0, 2]] and found["key"].tolist() == [255]
    assert all(found[name].tolist() == [values[name]] for name in names if name != "key")
    for name in set(names) - set(NEEDED):
        older = parse(json.dumps({k: v for k, v in line.items() if k != name}).encode() + b"\n", names)
        assert older[name].tolist() == [type(values[name])()] and older["run"].tolist() == [3]
    for name in NEEDED:
        damaged = json.dumps({k: v for k, v in line.items() if k != name}).encode() + b"\n"
        assert not len(parse(damaged, names)["run"]) and not is_record(damaged)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(LINES, max_size=12), min_size=1, max_size=3))
def test_results_are_those_of_the_latest_records(tmp_path: Path, files: list[list[bytes]]) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    (root / "s").mkdir()
    for number, lines in enumerate(files):
        (root / "s" / f"done-{number}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    results = latest_results(Progress(root), "s")
    keys = one_by_one([line for lines in files for line in lines])
    assert {block: int(results[block].key or "0", 16) if block in results else 0 for block in keys} == keys
    assert latest_results(Progress(root), "s", label="9") == {}
    assert all(result.finished - result.started in (0, 0.25, 3) or result.finished > 1e9 for result in results.values())
