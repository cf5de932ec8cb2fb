"""Find files without a record, unfinished files, and lines that are no records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import array_of, tables_of
from fgnet_pipeline.store.records.results import unreadable_lines
from fgnet_pipeline.store.stored_files import files_below, is_partial, shard_index, table_index
from fgnet_pipeline.verification.block_checks import Finding
from fgnet_pipeline.verification.report import RECORD, UNRECORDED, Report, Results, Stray


def survey_files(job: Job, name: str, results: Results, report: Report, usable: bool) -> list[Path]:
    """Match the files of a task with its records.

    A file of a block whose record was withdrawn is no damage: the block is computed again, which replaces the file.

    Args:
        job: with its plan.
        name: task.
        results: latest records of the task, withdrawn ones included.
        report: takes the findings and strays.
        usable: whether the metadata of the array are undamaged. If not, its shards are not matched.

    Returns:
        The folders that were searched.
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
        reason = "its block has no record: its writer was killed, or the record was lost"
        report.damage.append(Finding(UNRECORDED, name, block, tuple(files), reason))
    return folders


def _indexed(
    folder: Path, report: Report, index_of: Callable[[tuple[str, ...]], Vector | None]
) -> Iterator[tuple[Path, Vector]]:
    """The shards or tables below a folder. Other files go into the report as strays.

    Args:
        folder: of an array or of tables.
        report: takes the strays.
        index_of: gives the index of a shard or block from the parts of a relative path; None for other files.

    Yields:
        Path and index, zyx.
    """
    for path in files_below(folder):
        index = index_of(path.relative_to(folder).parts)
        if index is not None:
            yield path, index
        elif is_partial(path):
            report.strays.append(_unfinished(path))
        elif path.name != "zarr.json":
            report.strays.append(Stray("unknown", str(path), "it was not written by this program", ours=False))


def survey_rest(job: Job, handled: list[Path], report: Report) -> None:
    """Find unfinished files in all other folders of the output, and lines that are no records.

    Args:
        job: with its plan.
        handled: folders that `survey_files` has searched.
        report: takes the findings and strays.
    """
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
    return Stray("unfinished", str(path), "its writer was killed before the file was complete")
