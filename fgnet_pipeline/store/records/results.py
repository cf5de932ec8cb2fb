"""What the latest record of every block says about the data; lines that are no records are found and removed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.core.plan import format_key
from fgnet_pipeline.store.atomic_files import write_atomic
from fgnet_pipeline.store.records.columns import joined, parse, whole_lines
from fgnet_pipeline.store.records.latest import latest_of_each
from fgnet_pipeline.store.records.progress import Progress
from fgnet_pipeline.store.records.record import is_record

_READ = ("checksum", "nonzero", "seconds")


@dataclass(frozen=True, slots=True)
class Result:
    """The latest record of a block.

    Attributes:
        key: 16 hexadecimal digits; empty if the record was withdrawn.
        checksum: of what was written.
        nonzero: number of voxels that are not 0, or number of rows of a table.
        run: number of the run.
        started: seconds since 1970, by the clock of the worker.
        finished: seconds since 1970, by the clock of the worker.
    """

    key: str
    checksum: str
    nonzero: int
    run: int
    started: float
    finished: float


def latest_results(progress: Progress, task: str, label: str = "") -> dict[Vector, Result]:
    """Block -> its latest record, also of blocks that are no longer in the plan.

    Args:
        progress: the folder of records.
        task: name of the task.
        label: reads only the records of workers with this label.
    """
    pieces = (lines for path in progress.done_files(task, label) for lines, _ in whole_lines(path))
    records = joined((parse(lines, _READ) for lines in pieces), _READ)
    chosen = latest_of_each(records)
    records["started"] = records["finished"] - records["seconds"]
    names = ("block", *Result.__dataclass_fields__)
    rows = zip(*(records[name][chosen].tolist() for name in names), strict=True)
    return {(z, y, x): Result(format_key(key) if key else "", *rest) for (z, y, x), key, *rest in rows}


def latest_reads(progress: Progress, task: str) -> dict[Vector, Box]:
    """Block -> the region that it read, in voxels, of all blocks that are done.

    Args:
        progress: the folder of records.
        task: name of the task.
    """
    latest: dict[Vector, tuple[tuple[int, float, str], Box | None]] = {}
    for record in progress.records(task):
        z, y, x = record["block"]
        order = (record["run"], record["finished"], record["key"])
        if (z, y, x) not in latest or latest[z, y, x][0] <= order:
            read = record.get("read") if record["key"] else None
            latest[z, y, x] = (order, Box(vector(read[0]), vector(read[1])) if read else None)
    return {block: read for block, (_, read) in latest.items() if read is not None}


def unreadable_lines(path: Path) -> tuple[list[int], bool]:
    """Find the lines of a file that are no records.

    Returns:
        Their numbers, from 1; and whether there is one only, the last, which was cut off when its writer was killed.
    """
    bad, last, ended = [], 0, True
    with path.open("rb") as stream:
        for last, line in enumerate(stream, 1):
            ended = line.endswith(b"\n")
            if not ended or not is_record(line):
                bad.append(last)
    return bad, bad == [last] and not ended


def drop_lines(path: Path, numbers: Collection[int]) -> None:
    """Rewrite a file of records without the lines of these `numbers` (from 1), whole or not at all."""
    with path.open("rb") as stream:
        kept = [line for number, line in enumerate(stream, 1) if number not in numbers]
    write_atomic(path, b"".join(kept))
