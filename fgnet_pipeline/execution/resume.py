"""Find which blocks are done, missing or stale, by comparing the plan with stored fingerprints and records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import DamageError, StaleError
from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.core.plan import differences
from fgnet_pipeline.core.suggestions import unknown_choice
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.known_inputs import note_inputs
from fgnet_pipeline.stages.registry import array_of, create_array, from_stage_on, stage_names
from fgnet_pipeline.store.atomic_files import read_json, write_json
from fgnet_pipeline.store.records.latest import Latest
from fgnet_pipeline.store.records.record import Failure
from fgnet_pipeline.store.stored_files import stored_blocks

REDO_FILE = "redo.json"


def check_fresh(job: Job, names: Iterable[str], redo: str | None) -> None:
    """Refuse to mix results of two configurations. Nothing is written.

    Args:
        job: with its plan.
        names: tasks that are about to run.
        redo: the stage whose results, and those of all later stages, may be replaced; None for no stage.

    Raises:
        InputError: `redo` is no stage.
        StaleError: stored results of a task have another fingerprint; the message says which task and what differs.
    """
    if redo is not None and redo not in stage_names():
        raise unknown_choice("--redo", redo, stage_names(), "name a stage")
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
    """Create missing arrays, store what results are made with, and drop records of results that are to be replaced.

    If a run with `redo` was killed, the same `redo` continues it; `finish` marks its end.

    Args:
        job: with its plan; its output is held.
        names: tasks that are about to run.
        redo: as in `check_fresh`.

    Raises:
        DamageError: an array has chunks but no readable metadata.
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
            # Records go before the array: after a crash in between, blocks are computed again, but none is missing.
            progress.forget(name)
        if new:
            create_array(job, name)
        if different:
            progress.set_fingerprint(name, dict(task.fingerprint))
        note_inputs(job, task)
    if redo is not None:
        write_json(progress.root / REDO_FILE, {"stage": redo})


def _refuse_to_drop_chunks(job: Job, task: Task, array: str | None, redo: str | None) -> None:
    """Refuse to create an array again if it has lost its metadata but still has chunks."""
    if array is None or job.output.has_array(array) or _is_redone(task, redo):
        return
    if job.output.has_chunks(array):
        restored = "" if is_url(job.output.path) else "`fgnet verify CONFIG --repair` restores them, "
        raise DamageError(
            f"array {job.output.path}/{array} holds chunks, but its metadata (zarr.json) are missing or unreadable: "
            f"{restored}--redo {task.stage} computes everything again"
        )


def finish(job: Job) -> None:
    """Note that everything is done, so that the next `--redo` starts from the beginning."""
    (job.output.progress.root / REDO_FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Left:
    """The state of every block of a task, as bool arrays (z, y, x) over the index box `plan.blocks(name)`.

    Attributes:
        active: the block has work.
        done: its work is done.
        stale: it has a record, but of other inputs, another region or another configuration.
    """

    active: npt.NDArray[np.bool_]
    done: npt.NDArray[np.bool_]
    stale: npt.NDArray[np.bool_]

    @property
    def todo(self) -> npt.NDArray[np.bool_]:
        """Blocks that have work which is not done."""
        return self.active & ~self.done


def left(job: Job, name: str) -> Left:
    """Compare the records of a task with the present keys of its blocks.

    Records are read again only if there are new ones, so repeated calls are cheap.
    """
    signature = job.output.progress.signature(name)
    held = job.left.get(name)
    if held is None or held[0] is not job.plan or held[1] != signature:
        held = (job.plan, signature, compare(job, name, job.output.progress.latest(name, job.plan.blocks(name))))
        job.left[name] = held
    found: Left = held[2]
    return found


def lost(job: Job, name: str) -> npt.NDArray[np.bool_]:
    """Find the blocks that are done and not empty, but have no file: a reader would see zeros.

    Only folders are listed; `fgnet verify` reads the files. In an object store nothing is looked up, because every row
    of blocks would cost a request.

    Returns:
        bool (z, y, x) over the index box `plan.blocks(name)`.
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
    """Compare the latest record of each block of a task with the block's key."""
    keys, recorded = job.plan.all_keys(name), latest.key
    same = keys == recorded
    return Left(keys != 0, same & (keys != 0), (recorded != 0) & ~same)


def ready(job: Job, name: str, todo: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Select the blocks of `todo` whose upstream blocks are all done, by their records."""
    waiting = np.zeros(todo.shape, bool)
    for upstream in job.plan.tasks[name].upstream:
        missing = left(job, upstream).todo
        if missing.any():
            waiting |= job.plan.touching(name, upstream, missing)
    return todo & ~waiting


def blocks_where(job: Job, name: str, mask: npt.NDArray[np.bool_]) -> Iterator[Vector]:
    """Yield the indices of the blocks at which `mask` (shape of `plan.blocks(name)`) is true, in C order."""
    for index in np.argwhere(mask):
        yield vector(index + job.plan.blocks(name).begin)


def voxels_where(job: Job, name: str, mask: npt.NDArray[np.bool_]) -> int:
    """Count the voxels that the blocks at which `mask` is true write inside the region of interest."""
    blocks, shape = job.plan.blocks(name), job.plan.tasks[name].grid.block_shape
    total: npt.NDArray[np.int64] = mask.astype(np.int64)
    for axis in (2, 1, 0):
        begin = np.arange(blocks.begin[axis], blocks.end[axis], dtype=np.int64) * shape[axis]
        low, high = (np.clip(v, job.roi.begin[axis], job.roi.end[axis]) for v in (begin, begin + shape[axis]))
        total = total @ (high - low)
    return int(total)


def failed_blocks(job: Job, name: str, todo: npt.NDArray[np.bool_]) -> list[Failure]:
    """The failures of the latest run whose blocks are not done yet, in C order of the blocks."""
    failures = job.output.progress.failures(name)
    origin = job.plan.blocks(name).begin
    return [failures[block] for block in sorted(failures) if _at(todo, np.subtract(block, origin))]


def _at(mask: npt.NDArray[np.bool_], index: npt.NDArray[np.int64]) -> bool:
    return bool((index >= 0).all() and (index < mask.shape).all() and mask[tuple(index)])
