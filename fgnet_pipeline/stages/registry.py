"""Which tasks a job has, and which class runs each."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError, StaleError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages import agglomerate, edges, fragments, lut, relabel
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.stage import Stage
from fgnet_pipeline.store.arrays import storage_shapes
from fgnet_pipeline.store.output import Output

#: Stages in the order of the data flow; ``status`` reports these and ``--redo`` takes them.
STAGES = ("predict", "fragments", "edges", "agglomerate", "lut", "relabel")


def plan_job(job: Job, *, new_affinities: bool = True) -> Plan:
    """Build the plan of ``job`` and attach it.

    Args:
        new_affinities: whether affinities are to be predicted now; otherwise those stored are taken as they are, and
            no checkpoint is needed.

    Raises:
        InputError: model, geometry or storage shapes that do not fit, or no stored affinities where they are needed.
    """
    tasks: list[Task] = []
    if job.affinities is None:
        tasks.append(_predict_task(job, new_affinities))
    tasks += [fragments.plan_task(job), edges.plan_task(job)]
    tasks += agglomerate.plan_tasks(job) + lut.plan_tasks(job)
    tasks.append(relabel.plan_task(job))
    job.plan = Plan(job.roi, tasks, job.mask)
    return job.plan


def _predict_task(job: Job, new_affinities: bool) -> Task:
    from fgnet_pipeline.stages import predict

    if job.raw is None:
        raise InputError("volume.path", None, "the raw volume", "set volume.path, or affinities.path")
    stored = job.output.progress.fingerprint("predict")
    if new_affinities:
        return predict.plan_task(job, stored)
    if stored is None:
        raise InputError(
            "output.path",
            job.output.path,
            "affinities, from an earlier run_predict.py (or affinities.path)",
            "run run_predict.py with this configuration first",
        )
    different = predict.stored_differences(job, stored)
    if different:
        raise StaleError(
            "output.path",
            job.output.path,
            f"affinities of this configuration, but its predict stage is stale ({'; '.join(different)})",
            "run run_predict.py with --redo predict, or choose another output.path",
        )
    return predict.stored_task(job, stored)


def attach_known_keys(job: Job) -> None:
    """Let a worker's plan read the keys of octree nodes from their tables instead of computing the whole volume's."""
    for task in job.plan.tasks.values():
        if task.stage in ("agglomerate", "lut"):
            level = task.name.rpartition("-")[2]
            kind = f"merges-{level}" if task.stage == "agglomerate" else task.name
            tables = job.output.tables(kind, "agglomerate")
            job.plan.known[task.name] = _key_reader(tables)


def _key_reader(tables: Any) -> Any:
    def read(block: Vector) -> int:
        return int(tables.read_key(block), 16)

    return read


def open_stage(job: Job, name: str, worker: int = 0) -> Stage:
    """The stage object that computes blocks of the task ``name``; models are loaded here."""
    stage, _, level = name.partition("-")
    if stage == "predict":
        from fgnet_pipeline.stages.predict import Predict

        return Predict(job, worker)
    if stage == "fragments":
        return fragments.Census(job) if job.fragments is not None else fragments.Fragments(job)
    if stage == "edges":
        return edges.Edges(job)
    if stage == "agglomerate":
        return agglomerate.Agglomerate(job, int(level))
    if stage == "lut":
        return lut.Lut(job, int(level))
    return relabel.Relabel(job)


#: Which array a task writes.
ARRAYS = {"predict": "affinities", "fragments": "fragments", "relabel": "segmentation"}


def array_of(job: Job, name: str) -> str | None:
    """The array that a task writes; None for tasks that write only tables."""
    return None if name == "fragments" and job.fragments is not None else ARRAYS.get(name)


def clear_block(job: Job, name: str, block: Vector) -> None:
    """Remove what a task once wrote for a block that has no work now (a mask has shrunk)."""
    array = array_of(job, name)
    if array is not None:
        box = job.plan.tasks[name].grid.box(block).intersect(job.bounds)
        stored = job.output.array(array)
        stored.write_block(box, box, np.zeros(stored.channels + box.shape, stored.array.dtype))
    stage, _, level = name.partition("-")
    for kind in (f"merges-{level}", f"residual-{level}") if stage == "agglomerate" else (name,):
        job.output.tables(kind, stage).path(block).unlink(missing_ok=True)


def create_array(job: Job, name: str, output: Output | None = None) -> None:
    """Create the array that the task ``name`` writes, dropping an old one; in ``output`` where one is given."""
    fingerprint = dict(job.plan.tasks[name].fingerprint)
    lead: tuple[int, ...] = ()
    dtype, extra = "uint64", {}
    if name == "predict":
        neighbourhood = fingerprint["neighbourhood"]
        lead, dtype = (len(neighbourhood),), "uint8"
        extra = {"neighbourhood": neighbourhood, "normalisation": fingerprint["normalisation"]}
    block = job.config.schedule.block_shape_of(name)
    shard, chunk = storage_shapes(block, job.config.output.shard_shape, job.config.output.chunk_shape, name)
    (output or job.output).create_array(
        ARRAYS[name],
        shape=(*lead, *job.bounds.shape),
        dtype=dtype,
        shard=shard,
        chunk=chunk,
        attributes={**job.frame.attributes(channels=bool(lead)), **extra},
    )
