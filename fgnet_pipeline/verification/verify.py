"""Reading back everything that is stored, block by block, and mending it: ``fgnet verify``.

1. The metadata of every array is compared with what this configuration would create.
2. Every finished block is read and compared with its record, in processes
   (:mod:`fgnet_pipeline.verification.block_checks`).
3. Every file is matched with a record: what lies there without one was left by a killed writer, or lost its record.
4. Repairing withdraws the records of damaged blocks, then removes their files whole; ``fgnet run`` makes them again. A
   block that is made again has the same bytes, so what was made of it before it was damaged stays as it is. What was
   made of it afterwards, going by the time at which the file changed, is made again, too.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.errors import InputError, StaleError
from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.core.plan import format_key
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.execution.cluster import job_chain as chain
from fgnet_pipeline.execution.cluster import slurm
from fgnet_pipeline.execution.resume import check_fresh
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import ARRAYS, STAGES, array_of, create_array, plan_job
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.atomic_files import read_json, write_atomic
from fgnet_pipeline.store.disk_errors import disk_errors
from fgnet_pipeline.store.driver_lock import DriverLock, is_held
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.records.results import Result, drop_lines, latest_results, unreadable_lines
from fgnet_pipeline.store.stored_files import files_below, is_partial, shard_index, table_index
from fgnet_pipeline.verification.block_checks import CHECKSUM, DISAGREES, IDS, MISSING, Expected, Finding, tables_of
from fgnet_pipeline.verification.pool import checked_in_processes

METADATA, UNRECORDED, RECORD = "metadata", "unrecorded", "record"
#: What a reader would have taken for data: later blocks may have been made of it.
SILENT = (MISSING, CHECKSUM, IDS, DISAGREES)
#: Which stages read the array of fragments, and which their tables.
READ_ARRAYS, READ_TABLES = ("edges", "relabel"), ("agglomerate", "lut")
BLOCKS_AT_ONCE = 8
Results = dict[Vector, Result]


@dataclass(frozen=True, slots=True)
class Stray:
    """A file, or a part of one, that nothing refers to; ``ours``: whether repairing removes it."""

    kind: str
    file: str
    reason: str
    ours: bool = True


@dataclass
class Checked:
    """Blocks of a task: with work, read back, not done, and done with another configuration (both are no damage)."""

    blocks: int = 0
    read: int = 0
    left: int = 0
    stale: int = 0


@dataclass
class Report:
    """What was found; ``requeued``: for each task the blocks that repairing has made again."""

    damage: list[Finding] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    checked: dict[str, Checked] = field(default_factory=dict)
    requeued: dict[str, list[Vector]] = field(default_factory=dict)
    running: bool = False
    repaired: bool = False

    @property
    def ok(self) -> bool:
        return not self.damage


class Watcher(Protocol):
    """Told how many blocks of a task have been read back."""

    def __call__(self, task: str, read: int, total: int) -> None: ...


def verify(config: Config, *, repair: bool = False, watch: Watcher = lambda *_: None) -> Report:
    """Read back what ``config`` has stored.

    Args:
        repair: withdraw the records of damaged blocks, and remove damaged files and strays.

    Raises:
        InputError: nothing is stored there, it was made with another configuration, or a run is writing to it.
    """
    job = _open_stored(config)
    if not repair:
        return _survey(job, config, watch)
    with contextlib.suppress(slurm.SlurmError):  # where Slurm does not answer, its jobs see that a newer run has begun
        chain.refuse_while_alive(job)
    with disk_errors(job.output.root), DriverLock(job.output.progress.root / "lock"):
        restored = _restore_metadata(job)
        report = _survey(job, config, watch, locked=True)
        report.damage[:0] = restored
        _repair(job, report)
    return report


def _open_stored(config: Config) -> Job:
    """The job of a configuration that has stored something."""
    if is_url(config.output.path):
        expected = "a folder: what lies in an object store is only checked as it is read"
        raise InputError("output.path", config.output.path, expected, "copy the arrays to a disk to verify them")
    use_threads(config.schedule.threads)
    job = open_job(config)
    progress = job.output.progress
    if not progress.root.is_dir():
        raise InputError("output.path", str(job.output.root), "an output of this program", "fgnet run makes one")
    plan_job(job, new_affinities=progress.fingerprint("predict") is None)
    try:
        check_fresh(job, job.plan.tasks, None)
    except StaleError as error:
        remedy = "verify with the configuration that made it (config.json in the output)"
        raise StaleError(error.field, error.value, error.expected, remedy) from error
    return job


def _survey(job: Job, config: Config, watch: Watcher, locked: bool = False) -> Report:
    report = Report(running=not locked and is_held(job.output.progress.root / "lock"))
    report.damage = list(_metadata_findings(job))
    unusable = {finding.task for finding in report.damage}
    handled: list[Path] = []
    for name in job.plan.tasks:
        results = latest_results(job.output.progress, name)
        report.checked[name] = checked = Checked()
        expected = _expected(job, name, results, checked)
        if name not in unusable:
            found = _check(job, config, name, expected, watch)
            report.damage += _still(job, name, results, found) if report.running else found
        if not report.running:
            handled += _survey_files(job, name, results, report, name not in unusable)
    _drop_explained(job, report)
    if not report.running:
        _survey_rest(job, handled, report)
    _plan_requeue(job, report)
    return report


# What is stored of finished blocks


def _expected(job: Job, name: str, results: Results, checked: Checked) -> list[Expected]:
    """What the valid records of a task say; the others are counted."""
    keys, origin = job.plan.all_keys(name), job.plan.blocks(name).begin
    checked.blocks = int((keys != 0).sum())
    found = []
    for block, result in results.items():
        at = tuple(b - o for b, o in zip(block, origin, strict=True))
        inside = min(at) >= 0 and all(a < n for a, n in zip(at, keys.shape, strict=True))
        if not inside or keys[at] == 0 or not result.key:
            continue
        if format_key(int(keys[at])) == result.key:
            found.append(Expected(name, block, result.key, result.checksum, result.nonzero))
        else:
            checked.stale += 1
    checked.read = len(found)
    checked.left = checked.blocks - checked.read - checked.stale
    return sorted(found, key=lambda e: e.block)


def _check(job: Job, config: Config, name: str, expected: list[Expected], watch: Watcher) -> list[Finding]:
    spec = WorkerSpec(config.model_dump(mode="json"), job.roi, tuple(job.plan.tasks.values()), 0)
    batches = [expected[i : i + BLOCKS_AT_ONCE] for i in range(0, len(expected), BLOCKS_AT_ONCE)]
    found: list[Finding] = []
    watch(name, 0, len(expected))
    done = checked_in_processes(job, spec, batches, config.schedule.workers)
    for read, findings in done:
        found += findings
        watch(name, read, len(expected))
    return sorted(found, key=lambda f: f.block or (0, 0, 0))


def _still(job: Job, name: str, before: Results, found: list[Finding]) -> list[Finding]:
    """Without those whose block a running driver has begun to make again."""
    now = latest_results(job.output.progress, name) if found else {}
    return [f for f in found if f.block is None or now.get(f.block) == before.get(f.block)]


def _drop_explained(job: Job, report: Report) -> None:
    """Drop contradictions between tables where the damage of one of them explains the contradiction."""
    damaged = {(f.task, f.block) for f in report.damage if f.certain}
    report.damage = [f for f in report.damage if f.certain or not (_read_by(job, f) & damaged)]


def _read_by(job: Job, finding: Finding) -> set[tuple[str, Vector | None]]:
    """The upstream blocks that a block reads."""
    assert finding.block is not None  # only contradictions of a block's tables are uncertain
    task = job.plan.tasks[finding.task]
    box = task.read_box(finding.block)
    return {
        (name, block) for name in task.upstream
        for block in job.plan.active_blocks(name, job.plan.tasks[name].grid.covering(box))
    }  # fmt: skip


# Metadata


def _metadata_findings(job: Job) -> Iterator[Finding]:
    """Arrays that have records, or chunks, and no metadata that fit them."""
    for name in job.plan.tasks:
        array = array_of(job, name)
        if array is None or not _has_content(job, name, array):
            continue
        path = job.output.root / array / "zarr.json"
        stored, wanted = read_json(path), json.loads(_metadata(job, name))
        if not isinstance(stored, dict):
            yield Finding(METADATA, name, None, (str(path),), f"the metadata of {array} are missing or unreadable")
            continue
        attributes = {**wanted.pop("attributes"), **stored.get("attributes", {})} == stored.pop("attributes", {})
        if stored != wanted or not attributes:
            yield Finding(METADATA, name, None, (str(path),), f"the metadata of {array} are not those it was made with")


def _has_content(job: Job, name: str, array: str) -> bool:
    return (job.output.root / array / "c").exists() or any(True for _ in job.output.progress.records(name))


def _metadata(job: Job, name: str) -> bytes:
    """The metadata file that the array of a task is created with."""
    with tempfile.TemporaryDirectory(prefix="fgnet-") as folder:
        empty = Output(str(Path(folder) / "empty.zarr"))
        empty.create()
        create_array(job, name, empty)
        return (empty.root / ARRAYS[name] / "zarr.json").read_bytes()


def _restore_metadata(job: Job) -> list[Finding]:
    found = list(_metadata_findings(job))
    for finding in found:
        write_atomic(Path(finding.files[0]), _metadata(job, finding.task))
    return found


# Files without a record


def _survey_files(job: Job, name: str, results: Results, report: Report, usable: bool) -> list[Path]:
    """Match the files of a task with its records; returns the folders looked at.

    What lies at a block whose record was withdrawn is as it should be: the block is made again. usable: whether the
    array's metadata say how it is stored.
    """
    folders = []
    unrecorded: dict[Vector, list[str]] = {}
    if usable and (array := array_of(job, name)) is not None and job.output.has_array(array):
        stored = job.output.array(array)
        shape, block_shape = stored.shards.block_shape, job.plan.tasks[name].grid.block_shape
        for path, index in _indexed(stored.folder, report, lambda parts: shard_index(parts, len(stored.channels) + 3)):
            block = vector([i * s // b for i, s, b in zip(index, shape, block_shape, strict=True)])
            if block not in results:
                unrecorded.setdefault(block, []).append(str(path))
        folders.append(stored.folder)
    for table in tables_of(job, name):
        for path, block in _indexed(table.root, report, table_index):
            if block not in results:
                unrecorded.setdefault(block, []).append(str(path))
        folders.append(table.root)
    for block, files in sorted(unrecorded.items()):
        reason = "no record says that it is done: a writer was killed, or its record is lost"
        report.damage.append(Finding(UNRECORDED, name, block, tuple(files), reason))
    return folders


def _indexed(folder: Path, report: Report, index_of: Any) -> Iterator[tuple[Path, Vector]]:
    """The shards or tables below a folder; all else goes into the report."""
    for path in files_below(folder):
        index = index_of(path.relative_to(folder).parts)
        if index is not None:
            yield path, index
        elif is_partial(path):
            report.strays.append(_unfinished(path))
        elif path.name != "zarr.json":
            report.strays.append(Stray("unknown", str(path), "not a file of this program: look at it", ours=False))


def _survey_rest(job: Job, handled: list[Path], report: Report) -> None:
    """Unfinished files elsewhere, and lines that are no records."""
    seen = {str(folder) + os.sep for folder in handled}
    for path in files_below(job.output.root):
        if is_partial(path) and not any(str(path).startswith(folder) for folder in seen):
            report.strays.append(_unfinished(path))
    for path in sorted(job.output.progress.root.glob("*/done-*.jsonl")):
        bad, torn = unreadable_lines(path)
        if torn:
            report.strays.append(
                Stray("torn record", str(path), "its last line was cut off when its writer was killed")
            )
        elif bad:
            reason = f"{len(bad)} lines are no records, the first is line {bad[0]}"
            report.damage.append(Finding(RECORD, path.parent.name, None, (str(path),), reason))


def _unfinished(path: Path) -> Stray:
    return Stray("unfinished", str(path), "its writer was killed before it was whole")


# Repairing


def _plan_requeue(job: Job, report: Report) -> None:
    """Which records repairing withdraws: of damaged blocks, and of what was made of them afterwards."""
    held = functools.cache(functools.partial(latest_results, job.output.progress))
    chosen: dict[str, set[Vector]] = {}
    waiting: deque[tuple[str, Vector, float, tuple[str, ...]]] = deque()
    for f in report.damage:
        if f.block is None or f.kind == UNRECORDED:
            continue
        chosen.setdefault(f.task, set()).add(f.block)
        if f.kind in SILENT:
            tables = all(file.endswith(".parquet") for file in f.files)
            waiting.append((f.task, f.block, _changed(f.files), READ_TABLES if tables else READ_ARRAYS))
    while waiting:
        name, block, since, stages = waiting.popleft()
        for later, other in _readers(job, name, block, stages if name == "fragments" else STAGES):
            result = held(later).get(other)
            if result is None or not result.key or result.finished <= since:
                continue
            if other not in chosen.setdefault(later, set()):
                chosen[later].add(other)
                waiting.append((later, other, result.started, STAGES))
    report.requeued = {name: sorted(blocks) for name, blocks in chosen.items() if blocks}


def _changed(files: Iterable[str]) -> float:
    """When these files last changed (s); of one that is gone, when its folder did."""
    times = []
    for path in map(Path, files):
        place = next((p for p in (path, *path.parents) if p.exists()), None)
        if place is not None:
            times.append(place.stat().st_mtime)
    return max(times, default=float("inf"))


def _readers(job: Job, name: str, block: Vector, stages: Collection[str]) -> Iterator[tuple[str, Vector]]:
    """The blocks of ``stages`` that read what ``block`` of the task ``name`` wrote."""
    box = job.plan.write_box(name, block)
    for later, task in job.plan.tasks.items():
        if name in task.upstream and task.stage in stages:
            around = task.grid.covering(box.grow(task.above, task.below).intersect(job.roi))
            yield from ((later, other) for other in job.plan.active_blocks(later, around))


def _repair(job: Job, report: Report) -> None:
    """First the records, then what they vouch for: a crash in between leaves files without records."""
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
