"""Make an export: check everything, compute the blocks that are left, and complete the target."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.durations import duration
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.execution.driver import Passes, open_planned, require_finished
from fgnet_pipeline.execution.resume import check_fresh, left, prepare
from fgnet_pipeline.execution.run import workers_of
from fgnet_pipeline.execution.work import Observer
from fgnet_pipeline.exports.format import Format, Options
from fgnet_pipeline.exports.job import ExportJob, export_job
from fgnet_pipeline.exports.registry import format_of
from fgnet_pipeline.exports.state import SUFFIX
from fgnet_pipeline.stages.registry import stages_after
from fgnet_pipeline.store.disk_errors import disk_errors
from fgnet_pipeline.store.driver_lock import DriverLock


def export(
    job: ExportJob, observer: Observer | None = None, report: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Compute every block of an export that is not done, and complete the target.

    The workers are those of the configuration. If these come from job arrays, which compute whole stages of a run, the
    workers of the export run on this machine.

    Args:
        job: from `open_export`.
        observer: told of progress.
        report: told in sentences.

    Returns:
        What the format has to say of the target.

    Raises:
        InputError: bad input; nothing has been written.
        BlocksFailedError: some blocks failed; all others are done, and the same command continues.
    """
    started, names = time.time(), [task.name for task in job.tasks]
    schedule, compute = job.config.schedule, workers_of(job.config)
    if not (schedule.is_local or schedule.takes_blocks_from_driver):
        report("the workers of this export run on this machine; schedule.backend is for runs")
    with _driving(job, names):
        passes = Passes(job, names, report)
        for work in passes:
            passes.trouble = compute(work, observer)
        lines = job.format.finish(job)
    if observer is not None:
        observer.finish()
    report(f"finished in {duration(time.time() - started)}: {job.to}")
    return lines


def open_export(config: Config, name: str, to: str, options: Options, progress: Path | None = None) -> ExportJob:
    """Open a result and plan its export. Nothing is written.

    Args:
        config: of the result.
        name: of the format.
        to: the target, a path or a URL.
        options: of the export.
        progress: the folder of records; None: the target's path with `.progress` after it.

    Raises:
        InputError: an unknown format or option, a result that is not finished, a target that holds something else.
    """
    chosen = format_of(name)
    if is_url(to):
        _check_url(chosen, to)
    _check_options(chosen, options)
    _check_packages(chosen)
    source = open_planned(config, stages_after("predict"), only_reads=True)
    job = export_job(source, chosen, options, to, progress or _default_progress(to, name))
    job.plan = Plan(source.roi, [*source.plan.tasks.values(), *chosen.plan(job)], source.mask)
    _check_source(job)
    job.state.check(made_of(job), job.roi, to)
    _check_target(job)
    _check_mask(job)
    chosen.check(job)
    return job


def made_of(job: ExportJob) -> dict[str, Any]:
    """The document that identifies an export: format, options, place, and fingerprints of the tasks that it reads."""
    # A larger region gives the octree more levels. Level 0 says what the stage was computed with.
    read = [job.plan.tasks[name] for name in _upstream(job, everything=True)]
    tasks = {task.name: dict(task.fingerprint) for task in read if not task.level}
    own = {task.name: dict(task.fingerprint) for task in job.tasks if not task.level}
    place = {
        "shape": list(job.bounds.shape),
        "voxel_size": list(job.frame.voxel_size),
        "offset": list(job.frame.offset),
        "to": _relative(job),
    }
    return {"format": job.format.name, "options": job.options.to_dict(), **place, **tasks, **own}


def _relative(job: ExportJob) -> str:
    """The target as seen from the folder of records, so that both can be moved together."""
    return job.to if is_url(job.to) else os.path.relpath(job.target.absolute(), job.state.root.absolute().parent)


def _upstream(job: ExportJob, everything: bool) -> list[str]:
    """Names of the tasks of the result that the export reads; with `everything`, of all tasks that these read, too."""
    wanted = {name for task in job.tasks for name in task.upstream if name in job.source.plan.tasks}
    while everything:
        more = wanted | {name for known in wanted for name in job.plan.tasks[known].upstream}
        if more == wanted:
            break
        wanted = more
    return [name for name in job.source.plan.tasks if name in wanted]


def _check_source(job: ExportJob) -> None:
    """Refuse a result that is stale, or not finished for the region of interest."""
    check_fresh(job.source, _upstream(job, everything=True), None)
    require_finished(job.source, _upstream(job, everything=False), "run `fgnet run` with this configuration first")


def _check_target(job: ExportJob) -> None:
    """Refuse a target that holds something else."""
    if job.state.is_begun():
        return
    for path in job.format.paths(job):
        if path == job.target and path.is_dir() and job.format.is_folder and not any(path.iterdir()):
            continue
        if path.exists() or path.is_symlink():
            beside = "" if path == job.target else ", where the export writes a table of ids or other data"
            expected = (
                f"a path at which nothing lies yet{beside} (an export is continued only with its folder of records, "
                f"{job.state.root})"
            )
            raise InputError("--to", str(path), expected, "choose another --to, or move that away")


def _unwritten(job: ExportJob, names: list[str]) -> list[str]:
    """The tasks of which nothing is done, because what they write was deleted. The last task alone writes a file."""
    if job.format.is_written(job):
        return []
    return names if job.format.is_folder else names[-1:]


def _check_mask(job: ExportJob) -> None:
    """Refuse a mask that takes away blocks that the export has: they would stay in the target."""
    for task in job.tasks:
        state = left(job, task.name)
        if (state.stale & ~state.active).any():
            expected = "a mask that keeps all tissue of the export so far"
            remedy = f"choose another --to, or delete {job.to} and {job.state.root}"
            raise InputError("volume.mask", str(job.config.volume.mask), expected, remedy)


def _check_url(chosen: Format, to: str) -> None:
    """Refuse a URL that the format does not take, or that holds a password, which records and logs would show."""
    parts = urlsplit(to)
    if parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True):
        shown = f"{parts.scheme}://...@{parts.netloc.rpartition('@')[2]}{parts.path}"
        remedy = "write it into ~/.pgpass, or into the file that PGPASSFILE names"
        raise InputError("--to", shown, "a URL without a password", remedy)
    if not chosen.takes_urls:
        expected = f"a path, since {chosen.name} is written to files"
        raise InputError("--to", to, expected, "name a folder or file on a disk")


def _check_options(chosen: Format, options: Options) -> None:
    for name in options.given():
        if name not in chosen.options:
            flag = "--" + {"arrays": "array", "segments": "segment"}.get(name, name).replace("_", "-")
            expected = f"no such option for {chosen.name}"
            raise InputError(flag, getattr(options, name), expected, "leave it out")


def _check_packages(chosen: Format) -> None:
    for package, extra in chosen.packages.items():
        if find_spec(package) is None:
            expected = f"the package {package}, which {chosen.name} needs"
            raise InputError("FORMAT", chosen.name, expected, f'install it: pip install "fgnet-pipeline[{extra}]"')


def _default_progress(to: str, name: str) -> Path:
    """The folder of records: beside the target, or for a URL in the working directory."""
    if is_url(to):
        digest = hashlib.sha256(to.encode()).hexdigest()[:8]  # two exports may share one database
        return Path(f"{name}-{Path(urlsplit(to).path).name or 'export'}-{digest}{SUFFIX}")
    path = Path(to)
    return path.with_name(path.name + SUFFIX)


@contextmanager
def _driving(job: ExportJob, names: list[str]) -> Iterator[None]:
    """Make the folder of records, hold it for this driver alone, and make the target ready."""
    state = job.state
    with disk_errors(state.root):
        state.create()
        with DriverLock(state.progress.root / "lock"):
            for name in _unwritten(job, names) if state.is_begun() else ():
                state.progress.forget(name)
            state.save(made_of(job), job.roi)
            prepare(job, names, None)
            job.format.begin(job)
            yield
