"""`fgnet verify`: read back everything that is stored, block by block, and repair damage if asked to.

1. Compare the metadata of every array with the metadata that this configuration creates (`metadata`).
2. Read every finished block and compare it with its record, in several processes (`block_checks`, `pool`).
3. Match every file with a record. A file without a record was left by a killed writer, or its record was lost
   (`unrecorded_files`).
4. Choose the blocks to compute again, and repair (`repair`).
"""

from __future__ import annotations

from pathlib import Path

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.errors import InputError, StaleError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.plan import format_key
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.execution.resume import check_fresh
from fgnet_pipeline.execution.submitted_elsewhere import refuse_while_submitted
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import plan_job
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.disk_errors import disk_errors
from fgnet_pipeline.store.driver_lock import DriverLock, is_held
from fgnet_pipeline.store.records.results import latest_results
from fgnet_pipeline.verification.block_checks import Expected, Finding
from fgnet_pipeline.verification.metadata import (
    layout_findings,
    metadata_findings,
    restore_layout,
    restore_metadata,
)
from fgnet_pipeline.verification.pool import checked_in_processes
from fgnet_pipeline.verification.repair import plan_requeue
from fgnet_pipeline.verification.repair import repair as mend
from fgnet_pipeline.verification.report import Checked, Report, Results, Watcher
from fgnet_pipeline.verification.unrecorded_files import survey_files, survey_rest

#: Blocks per batch that is handed to a process.
BLOCKS_AT_ONCE = 8


def verify(config: Config, *, repair: bool = False, watch: Watcher = lambda *_: None) -> Report:
    """Read back everything that a run of `config` has stored.

    Args:
        config: of the run.
        repair: withdraw the records of damaged blocks, and remove damaged files and strays. Without it nothing is
            written.
        watch: told how many blocks have been read back.

    Returns:
        What was found; with `repair`, what has been repaired.

    Raises:
        InputError: `output.path` holds no output or is in an object store, or a run works on it (with `repair`).
        StaleError: the output was made with another configuration.
        PipelineError: a process that checked blocks was killed.
    """
    job = _open_stored(config)
    if not repair:
        return _survey(job, config, watch)
    refuse_while_submitted(job)
    output = job.output
    with disk_errors(output.root), DriverLock(output.progress.root / "lock", output.path):
        restored = [*restore_layout(output), *restore_metadata(job)]
        report = _survey(job, config, watch, locked=True)
        report.damage[:0] = restored
        mend(job, report)
    return report


def _open_stored(config: Config) -> Job:
    """Open the job of an output that exists."""
    if is_url(config.output.path):
        expected = "a folder: objects in an object store are checked only when a run reads them"
        raise InputError("output.path", config.output.path, expected, "copy the arrays to a disk to verify them")
    use_threads(config.schedule.threads)
    job = open_job(config)
    progress = job.output.progress
    if not progress.root.is_dir():
        raise InputError("output.path", str(job.output.root), "an output of this program", "fgnet run makes one")
    plan_job(job)
    try:
        check_fresh(job, job.plan.tasks, None)
    except StaleError as error:
        remedy = "verify with the configuration that made it (config.json in the output)"
        raise StaleError(error.field, error.value, error.expected, remedy) from error
    return job


def _survey(job: Job, config: Config, watch: Watcher, locked: bool = False) -> Report:
    report = Report(running=not locked and is_held(job.output.progress.root / "lock"))
    report.damage = [*layout_findings(job.output), *metadata_findings(job)]
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
            handled += survey_files(job, name, results, report, name not in unusable)
    _drop_explained(job, report)
    if not report.running:
        survey_rest(job, handled, report)
    plan_requeue(job, report)
    return report


def _expected(job: Job, name: str, results: Results, checked: Checked) -> list[Expected]:
    """The records to compare with the stored data, sorted by block.

    Blocks that are stale or not done are only counted, in `checked`.
    """
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
    spec = WorkerSpec(job.config.model_dump(mode="json"), job.roi, tuple(job.plan.tasks.values()), 0)
    batches = [expected[i : i + BLOCKS_AT_ONCE] for i in range(0, len(expected), BLOCKS_AT_ONCE)]
    found: list[Finding] = []
    watch(name, 0, len(expected))
    done = checked_in_processes(job, spec, batches, config.schedule.workers)
    for read, findings in done:
        found += findings
        watch(name, read, len(expected))
    return sorted(found, key=lambda f: f.block or (0, 0, 0))


def _still(job: Job, name: str, before: Results, found: list[Finding]) -> list[Finding]:
    """Drop findings about blocks whose record a running driver has changed since it was read."""
    now = latest_results(job.output.progress, name) if found else {}
    return [f for f in found if f.block is None or now.get(f.block) == before.get(f.block)]


def _drop_explained(job: Job, report: Report) -> None:
    """Drop a contradiction between two tables if one of them is known to be damaged."""
    damaged = {(f.task, f.block) for f in report.damage if f.certain}
    report.damage = [f for f in report.damage if f.certain or not (_read_by(job, f) & damaged)]


def _read_by(job: Job, finding: Finding) -> set[tuple[str, Vector | None]]:
    """The upstream blocks that the block of `finding` reads, as (task, index)."""
    assert finding.block is not None  # only contradictions of a block's tables are uncertain
    task = job.plan.tasks[finding.task]
    box = task.read_box(finding.block)
    return {
        (name, block) for name in task.upstream
        for block in job.plan.active_blocks(name, job.plan.tasks[name].grid.covering(box))
    }  # fmt: skip
