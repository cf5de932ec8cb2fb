"""A trial: compute one block of every stage in a temporary output, and measure time, memory and compression.

The region of interest of the trial covers the blocks at one voxel and the largest context of any stage that reads
results of another stage. So the measured blocks read as much as they would in the whole run. Each stage runs in a
process of its own, so that its peak memory is its own.
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
    """Time and memory that one block needed.

    Attributes:
        seconds: time of the worker.
        memory: peak memory of the worker, in bytes.
        compressed: bytes on disk per uncompressed byte of its array. None if it writes only tables.
    """

    seconds: float
    memory: int
    compressed: float | None


@dataclass(frozen=True)
class Trial:
    """The measurements of a trial.

    Attributes:
        tasks: name -> measurement, for tasks whose needs follow from the number of voxels. Octree nodes are left out:
            a node of the trial is smaller than one of the whole run.
        density: fragments and edges per million voxels. None if the trial found no edges.
    """

    tasks: dict[str, Measured]
    density: Density | None


def run_trial(job: Job, place: Vector) -> Trial:
    """Compute the blocks at the voxel `place` (zyx) in a temporary output, and measure them.

    Raises:
        PipelineError: an error that would also stop the whole run.
    """
    with tempfile.TemporaryDirectory(prefix="fgnet-trial-") as folder:
        done = run(_shrunk(job, trial_box(job, place), Path(folder)))
        return _measured(done, place)


def trial_box(job: Job, place: Vector) -> Box:
    """The region of interest of a trial, in voxels.

    It covers the blocks at `place` (zyx) and their context, clipped to the region of interest of `job`.
    """
    tasks = [task for task in job.plan.tasks.values() if stage_of(task).by_voxel]
    boxes = [task.grid.box(task.grid.index_of(place)).intersect(job.roi) for task in tasks]
    # Inputs exist everywhere, but results of other stages exist only inside the region of interest of the trial.
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
    """Compute the density of fragments and edges from records.

    If no LUT is recorded, the number of fragments follows from the number of edges and the assumed ratio.

    Args:
        totals: task -> sums over its records.
        source: of the records, in words.

    Returns:
        Numbers per million voxels. None if no edges are recorded.
    """
    edges, lut = totals.get("edges", Totals()), totals.get("lut-0", Totals())
    if not edges.nonzero or not edges.voxels:
        return None
    per_mvoxel = edges.nonzero / edges.voxels * 1e6
    if lut.nonzero and lut.voxels:
        return Density(lut.nonzero / lut.voxels * 1e6, per_mvoxel, source)
    return Density(per_mvoxel * Density.fragments / Density.edges, per_mvoxel, source)
