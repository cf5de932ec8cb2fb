"""Find all stages, and derive from their descriptions what one job needs: its plan, arrays and tables.

Stages are found in this folder and in the entry-point group `fgnet_pipeline.stages` of installed packages. The driver
and every worker find them in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.core.registry import discover
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.stage import Stage
from fgnet_pipeline.store.arrays import storage_shapes
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.tables import Tables

PACKAGE, ATTRIBUTE, GROUP = "fgnet_pipeline.stages", "STAGE", "fgnet_pipeline.stages"


@cache
def stages() -> dict[str, Stage]:
    """All stages by name, in the order of the data flow. Stages of other packages come as late as possible.

    Raises:
        InputError: two stages have one name, a stage comes after an unknown one, or stages come after each other in a
            circle.
    """
    waiting = discover(PACKAGE, ATTRIBUTE, GROUP, Stage)  # type: ignore[type-abstract]
    ordered: dict[str, Stage] = {}
    while waiting:
        ready = [name for name, stage in waiting.items() if all(other in ordered for other in stage.after)]
        if not ready:
            raise InputError(GROUP, ", ".join(waiting), f"stages that come only after some of {', '.join(ordered)}",
                             "correct the attribute `after` of these stages")  # fmt: skip
        ordered[ready[0]] = waiting.pop(ready[0])
    return ordered


#: Stages of work on a finished result, by name. `add_stages` fills it; no run has them in its plan.
_more: dict[str, Stage] = {}


def add_stages(more: Iterable[Stage]) -> None:
    """Let `stage_of` find further stages, in this process. They belong to no run.

    Raises:
        InputError: a stage of a run has the same name.
    """
    for stage in more:
        if stage.name in stages():
            raise InputError(GROUP, stage.name, "a name that no stage of an export has", "rename the stage")
        _more[stage.name] = stage


def stage_of(task: Task) -> Stage:
    """The stage that a task belongs to."""
    return stages().get(task.stage) or _more[task.stage]


def stage_names() -> tuple[str, ...]:
    """Names of all stages in the order of the data flow. `--redo` takes these."""
    return tuple(stages())


def from_stage_on(name: str) -> tuple[str, ...]:
    """`name` and the stages after it in the data flow."""
    names = stage_names()
    return names[names.index(name) :]


def stages_after(name: str) -> tuple[str, ...]:
    """The stages after `name` in the data flow."""
    return from_stage_on(name)[1:]


def plan_job(job: Job, *, new_affinities: bool | None = None) -> Plan:
    """Build the plan of `job` and attach it.

    Args:
        job: the opened job; its `plan` and `new_affinities` are set.
        new_affinities: whether affinities are to be predicted now. If False, stored affinities are used as they are,
            and no checkpoint is needed. If None, they are predicted unless some are stored.

    Raises:
        InputError: model, geometry or storage shapes do not fit, or the affinities that should be stored are missing.
    """
    stored = job.output.progress.fingerprint("predict") is not None
    job.new_affinities = not stored if new_affinities is None else new_affinities
    job.plan = Plan(job.roi, [task for stage in stages().values() for task in stage.plan(job)], job.mask)
    return job.plan


def attach_known_keys(job: Job, tasks: Iterable[Task] | None = None) -> None:
    """Let the plan of a worker read the keys of octree nodes from their tables.

    To compute these keys, the worker would need the keys of the whole volume.

    Args:
        job: with its plan.
        tasks: of the plan, whose tables lie in the output of `job`; None: all.
    """
    for task in job.plan.tasks.values() if tasks is None else tasks:
        if stage_of(task).has_key_table(task):
            job.plan.known[task.name] = _key_reader(tables_of(job, task.name)[-1])


def _key_reader(tables: Tables) -> Callable[[Vector], int]:
    return lambda block: int(tables.read_key(block), 16)


def tables_of(job: Job, name: str) -> list[Tables]:
    """The tables that a task writes, in the order in which their checksum is taken."""
    task = job.plan.tasks[name]
    return [job.output.tables(output.kind_of(task), output.redo) for output in stage_of(task).tables]


def array_of(job: Job, name: str) -> str | None:
    """Name of the array that a task writes; None for tasks that write only tables."""
    array = stage_of(job.plan.tasks[name]).array_of(job)
    return None if array is None else array.name


def array_names() -> Iterable[str]:
    """Names of all arrays that stages write."""
    return [stage.array.name for stage in stages().values() if stage.array is not None]


def clear_block(job: Job, name: str, block: Vector) -> None:
    """Delete the results of a block that has no work any more, because the mask has shrunk.

    Args:
        job: the opened job.
        name: of the task.
        block: index in the grid of the task, zyx.
    """
    array = array_of(job, name)
    if array is not None:
        box = job.plan.tasks[name].grid.box(block).intersect(job.bounds)
        stored = job.output.array(array)
        stored.write_block(box, box, np.zeros(stored.channels + box.shape, stored.array.dtype))
    for tables in tables_of(job, name):
        tables.path(block).unlink(missing_ok=True)


def storage_of(job: Job, name: str) -> tuple[Vector, Vector]:
    """(shard, chunk) in voxels, zyx, of the array that the task `name` writes; equal if no shard holds two chunks."""
    task, shapes = job.plan.tasks[name], job.config.output
    return storage_shapes(task.grid.block_shape, shapes.shard_shape, shapes.chunk_shape, stage_of(task).schedule)


def create_array(job: Job, name: str, output: Output | None = None, sharded: bool | None = None) -> None:
    """Create the array that a task writes. An array of the same name is replaced.

    Args:
        job: the opened job.
        name: of a task that writes an array.
        output: the output to create it in; None for the job's own.
        sharded: whether it has shards. If None, it has none if `output.shard_shape` is set to the shape of a chunk.
    """
    task = job.plan.tasks[name]
    stage = stage_of(task)
    array = stage.array_of(job)
    assert array is not None  # callers ask array_of first
    lead, attributes = stage.array_attributes(task)
    shard, chunk = storage_of(job, name)
    if sharded is None:
        sharded = shard != chunk or job.config.output.shard_shape is None
    (output or job.output).create_array(
        array.name,
        shape=(*lead, *job.bounds.shape),
        dtype=array.dtype,
        shard=shard if sharded else None,
        chunk=chunk,
        attributes={**job.frame.attributes(channels=bool(lead)), **attributes},
    )
