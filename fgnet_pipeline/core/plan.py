"""The plan: which tasks there are, which blocks each has, and the identity (key) of every block.

A task is one blockwise step. It has a block grid anchored at voxel 0 of the volume, the context that it reads around a
block, and the tasks whose output it reads. The *key* of a block is a hash of

1. the fingerprint of the task,
2. the clipped read and write regions of the block,
3. the mask inside the block, if the task depends on it,
4. the keys of all upstream blocks that the read region touches.

So keys are computed without reading data, except the mask. A block is done if, and only if, a done record carries the
key that the plan gives the block now. A grown region, a new mask or another threshold changes exactly the keys of the
blocks that see the change.

The driver computes the keys of whole grids with box sums (`fgnet_pipeline.core.hashing`). A worker computes the key of
one block from the blocks around it. For nodes of the octree this would need the whole volume. Therefore a worker reads
the keys of nodes from their tables (`known`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core import hashing
from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.core.hashing import Hashes
from fgnet_pipeline.core.task import Block, Task

SUMMARIES_HELD = GROUPS_HELD = 256
#: Blocks whose keys are computed together; fewer with a mask, which must be read for each block.
GROUP, GROUP_WITH_MASK = Grid((8, 8, 8)), Grid((2, 2, 2))


class TissueMask(Protocol):
    """What a plan needs of a tissue mask, e.g. `fgnet_pipeline.store.tissue_mask.Mask`."""

    def summarise(self, grid: Grid, blocks: Box, clip: Box) -> tuple[npt.NDArray[np.bool_], Hashes]:
        """Whether the blocks of an index box have tissue, and a digest of the mask in each.

        Blocks are cut off at `clip` (voxels). Both results have the shape of `blocks`.
        """


KeyLookup = Callable[[Vector], int]


class Plan:
    """All tasks over one region of interest.

    Args:
        roi: the region of interest in voxels.
        tasks: in the order of the data flow.
        mask: the tissue mask; None if everything is tissue.
        known: per name of a task, a function that gives the key of one finished block. Only workers need it.
    """

    def __init__(
        self,
        roi: Box,
        tasks: Iterable[Task],
        mask: TissueMask | None = None,
        known: Mapping[str, KeyLookup] | None = None,
    ) -> None:
        self.roi, self.mask, self.known = roi, mask, dict(known or {})
        self.tasks = {task.name: task for task in tasks}
        self._group = GROUP if mask is None else GROUP_WITH_MASK
        self._whole: dict[str, Hashes] = {}
        self._groups: dict[tuple[str, Vector], tuple[Hashes, Hashes]] = {}
        self._summaries: dict[tuple[Grid, Box], tuple[npt.NDArray[np.bool_], Hashes]] = {}

    def blocks(self, name: str) -> Box:
        """The index box of all blocks of a task that touch the region of interest."""
        return self.tasks[name].grid.covering(self.roi)

    def write_box(self, name: str, block: Vector) -> Box:
        """The voxels that `block` writes: its part of the region of interest."""
        return self.tasks[name].grid.box(block).intersect(self.roi)

    def block(self, name: str, index: Vector, identity: tuple[str, str] | None = None) -> Block:
        """One block of a task with its regions and its identity.

        Args:
            name: of the task.
            index: position in the grid of the task, zyx.
            identity: (key, identity of the inputs); None computes them.
        """
        task = self.tasks[name]
        key, inputs = identity or self.identity(name, index)
        whole = task.grid.box(index)
        return Block(index, whole, task.reads_around(whole), whole.intersect(self.roi), key, inputs)

    def active(self, name: str, blocks: Box) -> npt.NDArray[np.bool_]:
        """Which blocks of an index box have work: they touch the region of interest and hold tissue.

        Args:
            name: of the task.
            blocks: index box, zyx.

        Returns:
            bool of the shape of `blocks`.
        """
        return self._summarise(name, blocks)[0]

    def active_blocks(self, name: str, blocks: Box) -> list[Vector]:
        """The active blocks of the index box `blocks`, in C order."""
        return [vector(position + blocks.begin) for position in np.argwhere(self.active(name, blocks))]

    def _summarise(self, name: str, blocks: Box) -> tuple[npt.NDArray[np.bool_], Hashes]:
        where = (self.tasks[name].grid, blocks)
        found = self._summaries.get(where)
        if found is None:
            found = self._new_summary(name, blocks)
            if len(self._summaries) >= SUMMARIES_HELD:
                self._summaries.clear()
            self._summaries[where] = found
        return found

    def _new_summary(self, name: str, blocks: Box) -> tuple[npt.NDArray[np.bool_], Hashes]:
        tissue = np.zeros(blocks.shape, bool)
        digest = np.zeros(blocks.shape, np.uint64)
        inside = blocks.intersect(self.blocks(name))
        if not inside:
            return tissue, digest
        where = inside.slices(blocks.begin)
        if self.mask is None:
            tissue[where] = True
        else:
            tissue[where], digest[where] = self.mask.summarise(self.tasks[name].grid, inside, self.roi)
        return tissue, digest

    def all_keys(self, name: str) -> Hashes:
        """The keys of all blocks of a task. They are kept for later calls.

        Returns:
            uint64 of the shape of `blocks(name)`; 0 for blocks that are not active.
        """
        if name not in self._whole:
            for upstream in self.tasks[name].upstream:
                self.all_keys(upstream)
            self._whole[name] = self._compute(name, self.blocks(name))[0]
        return self._whole[name]

    def keys(self, name: str, blocks: Box) -> Hashes:
        """The keys of the blocks of an index box.

        Args:
            name: of the task.
            blocks: index box, zyx.

        Returns:
            uint64 of the shape of `blocks`; 0 for blocks that are not active.
        """
        if name in self._whole:
            return _cut(self._whole[name], self.blocks(name), blocks)
        found = np.zeros(blocks.shape, np.uint64)
        if name in self.known:
            for block in self.active_blocks(name, blocks):
                found[tuple(np.subtract(block, blocks.begin))] = self.known[name](block)
            return found
        for group in indices(self._group.covering(blocks)):
            whole = self._group.box(group)
            part = whole.intersect(blocks)
            found[part.slices(blocks.begin)] = self._of_group(name, group)[0][part.slices(whole.begin)]
        return found

    def identity(self, name: str, block: Vector) -> tuple[str, str]:
        """(key, identity of the inputs) of one block, 16 hexadecimal digits each, as its done record holds them."""
        if any(upstream in self.known for upstream in self.tasks[name].upstream):
            key, inputs = (values[0, 0, 0] for values in self._compute(name, single(block)))
        else:
            group = self._group.index_of(block)
            at = tuple(np.subtract(block, self._group.box(group).begin))
            key, inputs = (values[at] for values in self._of_group(name, group))
        return format_key(int(key)), format_key(int(inputs))

    def _of_group(self, name: str, group: Vector) -> tuple[Hashes, Hashes]:
        """Keys and inputs of a group of blocks. Computing 512 blocks takes hardly longer than computing one."""
        found = self._groups.get((name, group))
        if found is None:
            found = self._compute(name, self._group.box(group))
            if len(self._groups) >= GROUPS_HELD:
                self._groups.clear()
            self._groups[name, group] = found
        return found

    def _compute(self, name: str, blocks: Box) -> tuple[Hashes, Hashes]:
        """(keys, hashed inputs) of the index box `blocks`."""
        task = self.tasks[name]
        active, digest = self._summarise(name, blocks)
        inputs = self._inputs(task, blocks)
        with np.errstate(over="ignore"):
            keys = hashing.combine(task.fingerprint_hash, *self._regions(task, blocks)) + inputs
        if task.masked and self.mask is not None:
            keys = hashing.combine(keys, digest)
        keys = hashing.mix(keys)
        return np.where(active, np.maximum(keys, np.uint64(1)), np.uint64(0)), inputs

    def _regions(self, task: Task, blocks: Box) -> list[npt.NDArray[np.int64]]:
        """Clipped read and write limits along each axis, shaped to broadcast over the grid."""
        parts = []
        for axis in range(3):
            shape = [1, 1, 1]
            shape[axis] = -1
            parts += [limits.reshape(shape) for limits in self._limits(task, blocks, axis)]
        return parts

    def _limits(self, task: Task, blocks: Box, axis: int) -> tuple[npt.NDArray[np.int64], ...]:
        begin = np.arange(blocks.begin[axis], blocks.end[axis], dtype=np.int64) * task.grid.block_shape[axis]
        end = begin + task.grid.block_shape[axis]
        return (
            np.maximum(begin - task.below[axis], task.reads.begin[axis]),
            np.minimum(end + task.above[axis], task.reads.end[axis]),
            np.maximum(begin, self.roi.begin[axis]),
            np.minimum(end, self.roi.end[axis]),
        )

    def _inputs(self, task: Task, blocks: Box) -> Hashes:
        """Per block the sum, modulo 2^64, of the hashed keys of the upstream blocks that its read region touches."""
        # A task without upstream tasks reads a volume. Its fingerprint holds the identity of the volume.
        total = np.full(blocks.shape, 0 if task.upstream else task.fingerprint_hash, np.uint64)
        for name in task.upstream:
            low, high = self._upstream_ranges(task, blocks, self.tasks[name].grid)
            span = Box(vector([v.min() for v in low]), vector([v.max() for v in high]))
            with np.errstate(over="ignore"):
                keys = self.keys(name, span)
                hashed = np.where(keys != 0, hashing.combine(self.tasks[name].fingerprint_hash, keys), np.uint64(0))
                total = total + hashing.box_sums(hashed, *_from(low, high, span.begin))
        return total

    def touching(self, name: str, upstream: str, flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which blocks of a task read a flagged block of an upstream task.

        Args:
            name: of the task that reads.
            upstream: name of the task that is read.
            flags: of the shape of `blocks(upstream)`.

        Returns:
            bool of the shape of `blocks(name)`.
        """
        low, high = self._upstream_ranges(self.tasks[name], self.blocks(name), self.tasks[upstream].grid)
        span = Box(vector([v.min() for v in low]), vector([v.max() for v in high]))
        within = _cut(flags.astype(np.uint64), self.blocks(upstream), span)
        return hashing.box_sums(within, *_from(low, high, span.begin)) != 0

    def _upstream_ranges(
        self, task: Task, blocks: Box, upstream: Grid
    ) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]]:
        low, high = [], []
        for axis in range(3):
            begin, end, _, _ = self._limits(task, blocks, axis)
            size = upstream.block_shape[axis]
            # A block beyond the region, in the group of one inside, reads nothing, so it asks for no keys there.
            first = np.minimum(begin, task.reads.end[axis]) // size
            low.append(first)
            high.append(np.maximum(-(-end // size), first))
        return low, high


def _from(
    low: list[npt.NDArray[np.int64]], high: list[npt.NDArray[np.int64]], origin: Vector
) -> tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]]:
    """Both lists of limits, counted from `origin`."""
    shifted = [[v - o for v, o in zip(side, origin, strict=True)] for side in (low, high)]
    return shifted[0], shifted[1]


def single(block: Vector) -> Box:
    """The index box of one block."""
    return Box(block, vector(np.add(block, 1)))


def _cut(values: Hashes, held: Box, wanted: Box) -> Hashes:
    """The part of `values` that lies in the index box `wanted`; 0 outside `held`, the index box of `values`."""
    result = np.zeros(wanted.shape, np.uint64)
    inside = wanted.intersect(held)
    if inside:
        result[inside.slices(wanted.begin)] = values[inside.slices(held.begin)]
    return result


def differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """List the entries in which two fingerprints differ, each as `key: stored -> wanted`."""
    wanted = json.loads(json.dumps(wanted))
    return [
        f"{key}: {stored.get(key)} -> {wanted.get(key)}"
        for key in sorted(stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key)
    ]


def format_key(key: int) -> str:
    """A key as records and tables hold it: 16 hexadecimal digits."""
    return f"{key:016x}"
