"""What is done, what is left, and what is stale: comparing the plan with the stored fingerprints and records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import DamageError, InputError, StaleError
from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.core.plan import differences
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import array_of, create_array, from_stage_on, stage_names
from fgnet_pipeline.store.atomic_files import read_json, write_json
from fgnet_pipeline.store.records.latest import Latest
from fgnet_pipeline.store.records.record import Failure
from fgnet_pipeline.store.stored_files import stored_blocks

REDO_FILE = "redo.json"


def check_fresh(job: Job, names: Iterable[str], redo: str | None) -> None:
    """Refuse to mix results of two configurations; nothing is written.

    Args:
        names: the tasks about to run. redo: a stage from which on everything may be replaced.

    Raises:
        StaleError: a task's stored results were made otherwise; the message says which and what differs.
    """
    if redo is not None and redo not in stage_names():
        raise InputError("--redo", redo, f"one of {', '.join(stage_names())}", "name a stage")
    for name in names:
        task = job.plan.tasks[name]
        stored = job.output.progress.fingerprint(name)
        if stored is None or task.cheap or _is_redone(task, redo):
            continue
        different = differences(stored, dict(task.fingerprint))
        if different:
            raise StaleError(
                "output.path",
                job.output.path,
                f"results of this configuration, but its {task.stage} stage is stale ({'; '.join(different)})",
                f"add --redo {task.stage} to replace it and all after it, or choose another output.path",
            )


def _is_redone(task: Task, redo: str | None) -> bool:
    return redo is not None and task.stage in from_stage_on(redo)


def prepare(job: Job, names: Iterable[str], redo: str | None) -> None:
    """Create missing arrays, store the fingerprints, and drop records that vouch for nothing any more.

    A redo that was killed goes on where it was when the same redo is asked for again; `finish` ends it.
    """
    progress = job.output.progress
    begun = read_json(progress.root / REDO_FILE) == {"stage": redo}
    for name in names:
        task = job.plan.tasks[name]
        made_with = progress.fingerprint(name) or {}
        different = differences(made_with, dict(task.fingerprint))
        array = array_of(job, name)
        _refuse_to_drop_chunks(job, task, array, redo)
        new = array is not None and (not job.output.has_array(array) or (bool(different) and _is_redone(task, redo)))
        if new or (_is_redone(task, redo) and not begun):
            # First the records, then what they vouch for: a crash in between costs time, never trust.
            progress.forget(name)
        if new:
            create_array(job, name)
        if different:
            progress.set_fingerprint(name, dict(task.fingerprint))
    if redo is not None:
        write_json(progress.root / REDO_FILE, {"stage": redo})


def _refuse_to_drop_chunks(job: Job, task: Task, array: str | None, redo: str | None) -> None:
    """An array without metadata would be made anew: not where that drops what was computed."""
    if array is None or job.output.has_array(array) or _is_redone(task, redo):
        return
    if job.output.has_chunks(array):
        restored = "" if is_url(job.output.path) else "`fgnet verify CONFIG --repair` restores them, "
        raise DamageError(
            f"array {job.output.path}/{array} holds chunks, but its metadata (zarr.json) are missing or unreadable: "
            f"{restored}--redo {task.stage} computes everything again"
        )


def finish(job: Job) -> None:
    """Note that everything is done: the next redo begins anew."""
    (job.output.progress.root / REDO_FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Left:
    """For every block of a task (index box `plan.blocks`): whether it has work, and whether that is done.

    `stale`: it has a record, but of other inputs, another region or another configuration.
    """

    active: npt.NDArray[np.bool_]
    done: npt.NDArray[np.bool_]
    stale: npt.NDArray[np.bool_]

    @property
    def todo(self) -> npt.NDArray[np.bool_]:
        return self.active & ~self.done


def left(job: Job, name: str) -> Left:
    """Compare the records of a task with the keys that the plan gives its blocks now.

    The records are read again only where there are new ones, so that asking often costs nothing.
    """
    signature = job.output.progress.signature(name)
    held = job.left.get(name)
    if held is None or held[0] is not job.plan or held[1] != signature:
        held = (job.plan, signature, compare(job, name, job.output.progress.latest(name, job.plan.blocks(name))))
        job.left[name] = held
    found: Left = held[2]
    return found


def lost(job: Job, name: str) -> npt.NDArray[np.bool_]:
    """Which blocks are done and wrote something of which no file is left: whoever reads them would see zeros.

    It takes a listing of folders and no look at single files; `fgnet verify` reads everything. An object store is not
    asked: every row of blocks would be a request.
    """
    blocks, array = job.plan.blocks(name), array_of(job, name)
    if array is None or is_url(job.output.path):
        return np.zeros(blocks.shape, bool)
    stored = np.zeros(blocks.shape, bool)
    if job.output.has_array(array):
        stored = stored_blocks(job.output.array(array), job.plan.tasks[name].grid, blocks)
    latest = job.output.progress.latest(name, blocks)
    return compare(job, name, latest).done & latest.nonzero & ~stored


def compare(job: Job, name: str, latest: Latest) -> Left:
    """What is left of a task, given the latest record of each of `plan.blocks(name)`."""
    keys, recorded = job.plan.all_keys(name), latest.key
    same = keys == recorded
    return Left(keys != 0, same & (keys != 0), (recorded != 0) & ~same)


def ready(job: Job, name: str, todo: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Those of the blocks `todo` whose inputs are all done, by their records as they are now."""
    waiting = np.zeros(todo.shape, bool)
    for upstream in job.plan.tasks[name].upstream:
        missing = left(job, upstream).todo
        if missing.any():
            waiting |= job.plan.touching(name, upstream, missing)
    return todo & ~waiting


def blocks_where(job: Job, name: str, mask: npt.NDArray[np.bool_]) -> Iterator[Vector]:
    """Block indices at which `mask` (shape of `plan.blocks(name)`) is true, in C order."""
    for index in np.argwhere(mask):
        yield vector(index + job.plan.blocks(name).begin)


def voxels_where(job: Job, name: str, mask: npt.NDArray[np.bool_]) -> int:
    """Voxels that the blocks at which `mask` is true write, those outside the region of interest left out."""
    blocks, shape = job.plan.blocks(name), job.plan.tasks[name].grid.block_shape
    total: npt.NDArray[np.int64] = mask.astype(np.int64)
    for axis in (2, 1, 0):
        begin = np.arange(blocks.begin[axis], blocks.end[axis], dtype=np.int64) * shape[axis]
        low, high = (np.clip(v, job.roi.begin[axis], job.roi.end[axis]) for v in (begin, begin + shape[axis]))
        total = total @ (high - low)
    return int(total)


def failed_blocks(job: Job, name: str, todo: npt.NDArray[np.bool_]) -> list[Failure]:
    """The failures of the latest run whose blocks are still to do, in C order of the blocks."""
    failures = job.output.progress.failures(name)
    origin = job.plan.blocks(name).begin
    return [failures[block] for block in sorted(failures) if _at(todo, np.subtract(block, origin))]


def _at(mask: npt.NDArray[np.bool_], index: npt.NDArray[np.int64]) -> bool:
    return bool((index >= 0).all() and (index < mask.shape).all() and mask[tuple(index)])
