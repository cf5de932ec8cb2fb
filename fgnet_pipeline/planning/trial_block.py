"""A trial: one block of every stage in a temporary output, to learn what blocks of this volume need.

The region of interest is shrunk to the blocks around one place, grown by the context of the fragments stage, so that
the block there is computed with all that it would read in the whole run. Each stage works in a process of its own.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.planning.disk import measured_compression
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.density import Density
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of
from fgnet_pipeline.store.records.latest import Totals


@dataclass(frozen=True)
class Measured:
    """What the block at the place took: seconds, bytes of memory, and bytes on disk per byte of its array."""

    seconds: float
    memory: int
    compressed: float | None


@dataclass(frozen=True)
class Trial:
    """``tasks``: those of voxels by name; a node of the octree would hold only what the trial has computed."""

    tasks: dict[str, Measured]
    density: Density | None


def run_trial(job: Job, place: Vector) -> Trial:
    """Compute the blocks around the voxel ``place`` in a temporary output and measure them.

    Raises:
        PipelineError: whatever would stop the whole run there, too.
    """
    with tempfile.TemporaryDirectory(prefix="fgnet-trial-") as folder:
        done = run(_shrunk(job, trial_box(job, place), Path(folder)))
        return _measured(done, place)


def trial_box(job: Job, place: Vector) -> Box:
    """Voxels that the blocks at ``place`` write, and the context that they read inside the region of interest."""
    tasks = [task for task in job.plan.tasks.values() if stage_of(task).by_voxel]
    boxes = [task.grid.box(task.grid.index_of(place)).intersect(job.roi) for task in tasks]
    # Inputs are there everywhere; what other stages make is there inside the region of interest alone.
    others = [task for task in tasks if not stage_of(task).reads_inputs_only]
    below = vector(np.max([task.below for task in others], axis=0))
    above = vector(np.max([task.above for task in others], axis=0))
    begin, end = np.min([b.begin for b in boxes], axis=0), np.max([b.end for b in boxes], axis=0)
    return Box(vector(begin), vector(end)).grow(below, above).intersect(job.roi)


def _shrunk(job: Job, box: Box, folder: Path) -> Config:
    size, offset = np.asarray(job.frame.voxel_size), np.asarray(job.frame.offset)
    corners = [(offset + np.multiply(corner, size)).tolist() for corner in (box.begin, box.end)]
    tables = job.config.model_dump(mode="json")
    tables["volume"]["roi"] = corners
    tables["output"] |= {"path": str(folder / "trial.zarr"), "state": None}
    for stage in tables["schedule"].values():
        if isinstance(stage, dict) and "workers" in stage:
            stage["workers"] = None
    tables["schedule"] |= {"workers": 1, "backend": "local"}
    return validate(tables)


def _measured(done: Job, place: Vector) -> Trial:
    progress, tasks = done.output.progress, {}
    for name, task in done.plan.tasks.items():
        block = task.grid.index_of(place)
        found = [r for r in progress.records(name) if r["key"] and r["block"] == list(block)]
        if stage_of(task).by_voxel and found:
            stored = measured_compression(done, task, [block])
            tasks[name] = Measured(found[-1]["seconds"], found[-1]["peak_memory"], stored)
    totals = {name: progress.latest(name, done.plan.blocks(name)).totals for name in done.plan.tasks}
    return Trial(tasks, density_of(totals, "measured by the trial"))


def density_of(totals: dict[str, Totals], source: str) -> Density | None:
    """Fragments and edges per million voxels, off the records; None where no edges are recorded."""
    edges, lut = totals.get("edges", Totals()), totals.get("lut-0", Totals())
    if not edges.nonzero or not edges.voxels:
        return None
    per_mvoxel = edges.nonzero / edges.voxels * 1e6
    if lut.nonzero and lut.voxels:
        return Density(lut.nonzero / lut.voxels * 1e6, per_mvoxel, source)
    return Density(per_mvoxel * Density.fragments / Density.edges, per_mvoxel, source)
