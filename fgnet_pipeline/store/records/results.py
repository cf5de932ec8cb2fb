"""What the latest record of every block says that was written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.store.atomic_files import write_atomic
from fgnet_pipeline.store.records.columns import documents, whole_lines
from fgnet_pipeline.store.records.progress import Progress, is_complete


@dataclass(frozen=True, slots=True)
class Result:
    """The latest record of a block; ``started`` and ``finished`` in seconds by the clock of its writer."""

    key: str
    checksum: str
    nonzero: int
    run: int
    started: float
    finished: float


def latest_results(progress: Progress, task: str) -> dict[Vector, Result]:
    """Block -> its latest record, without a key where that was withdrawn; latest as :class:`.latest.Latest` has it."""
    latest: dict[Vector, Result] = {}
    for record in _records(progress.root / task):
        z, y, x = record["block"]
        result = _result(record)
        held = latest.get((z, y, x))
        if held is None or (held.run, held.finished, held.key) <= (result.run, result.finished, result.key):
            latest[z, y, x] = result
    return latest


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("done-*.jsonl")):
        for lines, _ in whole_lines(path):
            yield from (record for record in documents(lines.splitlines()) if is_complete(record))


def _result(record: dict[str, Any]) -> Result:
    finished = record["finished"]
    started = finished - record.get("seconds", 0.0)
    checksum, nonzero = record.get("checksum", ""), record.get("nonzero", 0)
    return Result(record["key"], checksum, nonzero, record["run"], started, finished)


def unreadable_lines(path: Path) -> tuple[list[int], bool]:
    """(numbers of the lines that are no records, from 1; whether that is only the last, cut off with its writer)."""
    bad, last, ended = [], 0, True
    with path.open("rb") as stream:
        for last, line in enumerate(stream, 1):
            ended = line.endswith(b"\n")
            if not ended or not is_record(line):
                bad.append(last)
    return bad, bad == [last] and not ended


def drop_lines(path: Path, numbers: Collection[int]) -> None:
    """Rewrite a file of records without these lines, whole or not at all."""
    with path.open("rb") as stream:
        kept = [line for number, line in enumerate(stream, 1) if number not in numbers]
    write_atomic(path, b"".join(kept))


def is_record(line: bytes) -> bool:
    """Whether ``line`` is a whole record, or the withdrawal of one."""
    try:
        return is_complete(json.loads(line))
    except ValueError:
        return False
