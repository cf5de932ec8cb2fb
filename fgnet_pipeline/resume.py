"""What is done, what is left, and what is stale: comparing the plan with the stored fingerprints and records."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import InputError, StaleError
from .geometry import Vector
from .job import Job
from .plan import Task, differences
from .stages.build import STAGES, array_of, create_array
from .store.files import read_json, write_json

REDO_FILE = "redo.json"


def check_fresh(job: Job, names: Iterable[str], redo: str | None) -> None:
    """Refuse to mix results of two configurations; nothing is written.

    Args:
        names: the tasks about to run. redo: a stage from which on everything may be replaced.

    Raises:
        StaleError: a task's stored results were made otherwise; the message says which and what differs.
    """
    if redo is not None and redo not in STAGES:
        raise InputError("--redo", redo, f"one of {', '.join(STAGES)}", "name a stage")
    for name in names:
        task = job.plan.tasks[name]
        stored = job.output.progress.fingerprint(name)
        if stored is None or task.cheap or _is_redone(task, redo):
            continue
        different = differences(stored, dict(task.fingerprint))
        if different:
            raise StaleError(
                "output.path",
                str(job.output.root),
                f"results of this configuration, but its {task.stage} stage is stale ({'; '.join(different)})",
                f"add --redo {task.stage} to replace it and all after it, or choose another output.path",
            )


def _is_redone(task: Task, redo: str | None) -> bool:
    return redo is not None and STAGES.index(task.stage) >= STAGES.index(redo)


def prepare(job: Job, names: Iterable[str], redo: str | None) -> None:
    """Create missing arrays, store the fingerprints, and drop records that vouch for nothing any more.

    A redo that was killed goes on where it was when the same redo is asked for again; :func:`finish` ends it.
    """
    progress = job.output.progress
    begun = read_json(progress.root / REDO_FILE) == {"stage": redo}
    for name in names:
        task = job.plan.tasks[name]
        made_with = progress.fingerprint(name) or {}
        different = differences(made_with, dict(task.fingerprint))
        array = array_of(job, name)
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


def finish(job: Job) -> None:
    """Note that everything is done: the next redo begins anew."""
    (job.output.progress.root / REDO_FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Left:
    """For every block of a task (index box ``plan.blocks``): whether it has work, and whether that is done.

    ``stale``: it has a record, but of other inputs, another region or another configuration.
    """

    active: npt.NDArray[np.bool_]
    done: npt.NDArray[np.bool_]
    stale: npt.NDArray[np.bool_]

    @property
    def todo(self) -> npt.NDArray[np.bool_]:
        return self.active & ~self.done


def left(job: Job, name: str) -> Left:
    """Compare the records of a task with the keys that the plan gives its blocks now."""
    keys = job.plan.all_keys(name)
    origin = job.plan.blocks(name).begin
    done, stale = np.zeros(keys.shape, bool), np.zeros(keys.shape, bool)
    for (z, y, x), recorded in job.output.progress.keys(name).items():
        at = (z - origin[0], y - origin[1], x - origin[2])
        if min(at) >= 0 and at[0] < keys.shape[0] and at[1] < keys.shape[1] and at[2] < keys.shape[2]:
            done[at] = int(keys[at]) == int(recorded, 16)
            stale[at] = not done[at]
    return Left(keys != 0, done & (keys != 0), stale)


def blocks_where(job: Job, name: str, mask: npt.NDArray[np.bool_]) -> list[Vector]:
    """Block indices at which ``mask`` (shape of ``plan.blocks(name)``) is true."""
    origin = job.plan.blocks(name).begin
    return [(int(z), int(y), int(x)) for z, y, x in np.argwhere(mask) + np.asarray(origin)]


class DriverLock:
    """At most one driver an output. The lock ends with the driver's process and is not inherited by workers."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise InputError(
                "output.path", str(path.parent.parent), f"no other run on it ({holder or 'one is'} writing now)",
                "wait for it, end it, or choose another output.path",
            ) from error  # fmt: skip
        except OSError:
            return  # A file system without locks: the second driver is not noticed, its blocks are the same.
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)

    def __enter__(self) -> DriverLock:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
