"""Count the blocks of every task: all of them, those with work, and those that are done.

The keys of blocks, which are slow to compute, are computed only for tasks that have records.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, vector
from fgnet_pipeline.execution.resume import compare
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.store.records.latest import Totals

#: bool (z, y, x) of an index box of blocks: whether each block has work.
Activity = npt.NDArray[np.bool_]
#: Length of `Counts.some_done`, at most.
DONE_NAMED = 64


@dataclass(frozen=True)
class Counts:
    """Numbers of blocks of one task.

    Attributes:
        blocks: blocks that touch the region of interest.
        active: blocks that have work; without a mask, all of them.
        done: active blocks that are finished.
        totals: sums over the records of the task.
        some_done: indices, zyx, of at most `DONE_NAMED` blocks that are finished.
    """

    blocks: int
    active: int
    done: int = 0
    totals: Totals = field(default_factory=Totals)
    some_done: list[Vector] = field(default_factory=list)


def count_blocks(job: Job) -> dict[str, Counts]:
    """Count the blocks of every task of the plan.

    Returns:
        Name of the task -> its counts.
    """
    tissue = Tissue(job)
    return {name: _count(job, name, tissue) for name in job.plan.tasks}


def _count(job: Job, name: str, tissue: Tissue) -> Counts:
    blocks = job.plan.blocks(name)
    if not job.output.progress.signature(name):
        return Counts(blocks.size, tissue.count(name))
    latest = job.output.progress.latest(name, blocks)
    state = compare(job, name, latest)
    chosen = np.flatnonzero(state.done)[:DONE_NAMED]
    some = [vector(np.add(index, blocks.begin)) for index in np.transpose(np.unravel_index(chosen, blocks.shape))]
    return Counts(blocks.size, int(state.active.sum()), int(state.done.sum()), latest.totals, some)


class Tissue:
    """Find the blocks that hold tissue, for one grid after the other.

    The mask is read as rarely as possible. If the blocks of a grid consist of whole blocks of an earlier grid, the
    result follows from the earlier one.

    Args:
        job: with its plan. Without a mask, every block counts as tissue.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._known: dict[Grid, Activity] = {}

    def count(self, name: str) -> int:
        """Number of blocks of the task `name` that have work."""
        if self.job.mask is None:
            return self.job.plan.blocks(name).size
        return int(np.count_nonzero(self.of(self.job.plan.tasks[name].grid)))

    def of(self, grid: Grid) -> Activity:
        """For each block of `grid` that touches the region of interest, whether it has work.

        Returns:
            bool (z, y, x) of the shape of `grid.covering(job.roi)`.
        """
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
        """The result for `coarse`: a block has work if at least one of its `fine` blocks has."""
        held, wanted = fine.covering(self.job.roi), coarse.covering(self.job.roi)
        result = self._known[fine]
        for axis in range(3):
            factor = coarse.block_shape[axis] // fine.block_shape[axis]
            begins = np.arange(wanted.begin[axis], wanted.end[axis]) * factor - held.begin[axis]
            result = np.logical_or.reduceat(result, np.maximum(begins, 0), axis=axis)
        return result


def middle_voxel(job: Job) -> Vector:
    """Choose a voxel (zyx) in the middle of the region of interest.

    With a mask, it is the centre of a block that holds tissue, if there is such a block.
    """
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
