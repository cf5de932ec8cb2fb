"""Counting blocks: how many there are, hold tissue, and are done. Keys are computed only where there are records."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, vector
from fgnet_pipeline.execution.resume import compare
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.store.records.latest import Totals

Activity = npt.NDArray[np.bool_]
DONE_NAMED = 64


@dataclass(frozen=True)
class Counts:
    """Blocks of one task; ``some_done``: indices of a few that are done."""

    blocks: int
    active: int
    done: int = 0
    totals: Totals = field(default_factory=Totals)
    some_done: list[Vector] = field(default_factory=list)


def count_blocks(job: Job) -> dict[str, Counts]:
    """Counts of every task, by name."""
    tissue = Tissue(job)
    return {name: _count(job, name, tissue) for name in job.plan.tasks}


def _count(job: Job, name: str, tissue: Tissue) -> Counts:
    blocks = job.plan.blocks(name)
    if not job.output.progress.signature(name):
        return Counts(blocks.size, tissue.count(name))
    latest = job.output.progress.latest(name, blocks)
    state = compare(job, name, latest)
    at = np.flatnonzero(state.done)[:DONE_NAMED]
    some = [vector(np.add(index, blocks.begin)) for index in np.transpose(np.unravel_index(at, blocks.shape))]
    return Counts(blocks.size, int(state.active.sum()), int(state.done.sum()), latest.totals, some)


class Tissue:
    """Which blocks hold tissue; grids whose blocks are made of blocks seen before are not looked up in the mask."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._known: dict[Grid, Activity] = {}

    def count(self, name: str) -> int:
        """Blocks of a task that have work."""
        if self.job.mask is None:
            return self.job.plan.blocks(name).size
        return int(np.count_nonzero(self.of(self.job.plan.tasks[name].grid)))

    def of(self, grid: Grid) -> Activity:
        """For each block that touches the region of interest, whether it has work."""
        if grid not in self._known:
            finer = [g for g in self._known if not np.mod(grid.block_shape, g.block_shape).any()]
            self._known[grid] = self._coarsened(finer[-1], grid) if finer else self._new(grid)
        return self._known[grid]

    def _new(self, grid: Grid) -> Activity:
        blocks = grid.covering(self.job.roi)
        if self.job.mask is None:
            return np.ones(blocks.shape, bool)
        return self.job.mask.tissue(grid, blocks, self.job.roi)

    def _coarsened(self, fine: Grid, coarse: Grid) -> Activity:
        """A block that is made of smaller blocks has work where one of them has."""
        held, wanted = fine.covering(self.job.roi), coarse.covering(self.job.roi)
        result = self._known[fine]
        for axis in range(3):
            factor = coarse.block_shape[axis] // fine.block_shape[axis]
            begins = np.arange(wanted.begin[axis], wanted.end[axis]) * factor - held.begin[axis]
            result = np.logical_or.reduceat(result, np.maximum(begins, 0), axis=axis)
        return result


def middle_voxel(job: Job) -> Vector:
    """A voxel in the middle of the region of interest; with a mask, of a block with tissue."""
    box = job.roi
    if job.mask is not None:
        grid = next(iter(job.plan.tasks.values())).grid
        active = Tissue(job).of(grid)
        chosen = np.flatnonzero(active)
        if len(chosen):
            index = np.unravel_index(chosen[len(chosen) // 2], active.shape)
            box = grid.box(vector(np.add(index, grid.covering(job.roi).begin))).intersect(job.roi)
    return _middle(box)


def _middle(box: Box) -> Vector:
    return vector(np.add(box.begin, box.end) // 2)
