"""Choose which blocks are computed again, and remove damaged files.

1. The records of damaged blocks are withdrawn, and their files are removed. `fgnet run` computes these blocks again.
2. A block that is computed again gets the same bytes. So results that were made from it before the damage stay.
3. Results that were made from it after the damage are withdrawn as well. The time of the damage is the time at which
   the damaged file was last changed.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of
from fgnet_pipeline.store.records.results import drop_lines, latest_results, unreadable_lines
from fgnet_pipeline.verification.report import METADATA, RECORD, SILENT, UNRECORDED, Report


def plan_requeue(job: Job, report: Report) -> None:
    """Set `report.requeued`: the damaged blocks, and the blocks that were made from them after the damage.

    Blocks without a record are not listed: `fgnet run` computes them anyway.
    """
    held = functools.cache(functools.partial(latest_results, job.output.progress))
    chosen: dict[str, set[Vector]] = {}
    waiting: deque[tuple[str, Vector, float, str | None]] = deque()
    for f in report.damage:
        if f.block is None or f.kind == UNRECORDED:
            continue
        chosen.setdefault(f.task, set()).add(f.block)
        if f.kind in SILENT:
            tables = all(file.endswith(".parquet") for file in f.files)
            waiting.append((f.task, f.block, _changed(f.files), "tables" if tables else "array"))
    while waiting:
        name, block, since, what = waiting.popleft()
        for later, other in _readers(job, name, block, what):
            result = held(later).get(other)
            if result is None or not result.key or result.finished <= since:
                continue
            if other not in chosen.setdefault(later, set()):
                chosen[later].add(other)
                waiting.append((later, other, result.started, None))
    report.requeued = {name: sorted(blocks) for name, blocks in chosen.items() if blocks}


def _changed(files: Iterable[str]) -> float:
    """When these files last changed, in seconds since 1970. For a missing file, when its folder last changed."""
    times = []
    for path in map(Path, files):
        place = next((p for p in (path, *path.parents) if p.exists()), None)
        if place is not None:
            times.append(place.stat().st_mtime)
    return max(times, default=float("inf"))


def _readers(job: Job, name: str, block: Vector, what: str | None) -> Iterator[tuple[str, Vector]]:
    """The blocks of later tasks that read the output of a block.

    Args:
        job: with its plan.
        name: task of the block.
        block: index, zyx.
        what: `"array"` or `"tables"` if only that part of the output counts; None for all of it.

    Yields:
        Task and index of a block.
    """
    box, stage = job.plan.write_box(name, block), job.plan.tasks[name].stage
    for later, task in job.plan.tasks.items():
        reads = stage_of(task).reads.get(stage)
        if name in task.upstream and (what is None or reads in (None, what)):
            around = task.grid.covering(box.grow(task.above, task.below).intersect(job.roi))
            yield from ((later, other) for other in job.plan.active_blocks(later, around))


def repair(job: Job, report: Report) -> None:
    """Withdraw the records of `report.requeued`, and remove damaged files and strays.

    Records are withdrawn before their files are removed. After a crash in between, some files have a withdrawn record,
    and the next run replaces them. No record is left without its file.
    """
    report.repaired = True
    progress = job.output.progress
    for finding in report.damage:
        if finding.kind == RECORD:
            drop_lines(Path(finding.files[0]), unreadable_lines(Path(finding.files[0]))[0])
    if report.requeued:
        number = progress.set_driver()
        for name, blocks in report.requeued.items():
            progress.withdraw(name, blocks, number)
    for finding in report.damage:
        if finding.kind not in (METADATA, RECORD):
            _remove(finding.files)
    for stray in report.strays:
        if stray.kind == "torn record":
            drop_lines(Path(stray.file), unreadable_lines(Path(stray.file))[0])
        elif stray.ours:
            _remove([stray.file])


def _remove(files: Iterable[str]) -> None:
    for path in files:
        Path(path).unlink(missing_ok=True)
