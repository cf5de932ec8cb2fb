"""Fragments and merges of a box of blocks: the whole region, or as much around its middle as a budget allows.

A region of a petavoxel has more fragments than memory can hold. So the box grows from the block nearest to the middle,
by one block to every side, until the region is covered or the budget is spent. Everything that is said of the box is
exact inside the box; a segment counts with its voxels inside the box. Tables are read one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Vector, indices, vector
from fgnet_pipeline.kernels.agglomeration.growth import sizes_joined
from fgnet_pipeline.kernels.agglomeration.merge_tree import MAXIMUM_AFFINITY, Merges, lut, sort_merges
from fgnet_pipeline.kernels.relabel import places
from fgnet_pipeline.kernels.segment_rows import summed_by
from fgnet_pipeline.stages.octree import Octree
from fgnet_pipeline.views.report.result import Result, TaskState

Ids = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]
#: The budget: blocks, and fragments in their tables.
BLOCKS, FRAGMENTS = 4096, 2_000_000


@dataclass(frozen=True)
class Budget:
    """Limits of what a report reads.

    Attributes:
        blocks: tables of fragments at most.
        fragments: rows of these tables at most.
    """

    blocks: int = BLOCKS
    fragments: int = FRAGMENTS


@dataclass(frozen=True)
class Sample:
    """The fragments of a box of blocks, and the merges that concern them.

    Attributes:
        blocks: index box in the grid of fragments.
        voxel_box: the same in voxels, inside the region.
        is_whole: whether the box covers the region.
        boxes: index boxes of growing size around the first block; the last is `blocks`.
        ids: uint64 (n,), fragment of each row; a lab's fragment may have rows of several blocks.
        voxels: int64 (n,), of each row.
        points: int64 (n, 3), a voxel inside, zyx.
        shell: int64 (n,), place in `boxes` of the first box that holds the row.
        names: uint64 (m,), sorted: all fragments, and all others that the merges name.
        sizes: int64 (m,), voxels of each name inside the box.
        merges: rows in canonical order.
        segments: uint64 (m,), segment of each name at the threshold.
    """

    blocks: Box
    voxel_box: Box
    is_whole: bool
    boxes: tuple[Box, ...]
    ids: Ids
    voxels: Counts
    points: Counts
    shell: Counts
    names: Ids
    sizes: Counts
    merges: Merges
    segments: Ids

    def segment_of(self, ids: Ids) -> Ids:
        """The segment (k,) of each of some names (k,); 0 for ids that are no names."""
        at, known = places(self.names, ids)
        return np.where(known, self.segments[at], np.uint64(0))

    @cached_property
    def segment_sizes(self) -> tuple[Ids, Counts]:
        """All segments (k,), sorted, and their voxels (k,) inside the box."""
        return summed_by(self.segments, self.sizes)

    @cached_property
    def sizes_joined(self) -> tuple[Counts, Counts]:
        """The voxels of both clusters before every merge."""
        return sizes_joined(self.names, self.sizes, self.merges)

    @cached_property
    def merge_scores(self) -> npt.NDArray[np.float64]:
        """The score of every merge in [0, 1]."""
        count = np.maximum(self.merges.count, 1).astype(np.float64)
        return np.asarray(self.merges.sum / (MAXIMUM_AFFINITY * count))

    def sentence(self) -> str:
        """Which part of the region this is."""
        if self.is_whole:
            return "All fragments of the region count."
        begin, end = list(self.voxel_box.begin), list(self.voxel_box.end)
        return (f"The region is too large to be read as a whole. This section is about voxels {begin} to {end} in its "
                "middle; segments count with their voxels in there.")  # fmt: skip


def missing_for_sample(result: Result) -> list[str]:
    """Why no sample can be read; nothing if one can."""
    agglomeration = result.agglomeration() or ["agglomerate-0"]
    found = result.missing(["fragments", *agglomeration])
    return found or ([] if result.octree() is not None and result.roi else ["the agglomeration cannot be opened"])


def read_sample(result: Result, budget: Budget | None = None) -> Sample | None:
    """Read the sample of a result whose agglomeration is finished.

    Args:
        result: the result.
        budget: how much is read.

    Returns:
        None if no block has a fragment, or if tables of the merge tree are damaged; then the result has a note.
    """
    state, tree = result.tasks["fragments"], result.octree()
    middle = _middle(state, result.roi)
    if middle is None or tree is None:
        return None
    boxes = list(_boxes(result, state, middle, budget or Budget()))
    rows = _rows(result, state, boxes)
    merges = _merges(result, tree, np.unique(rows[0]))
    if merges is None or not len(rows[0]):
        return None
    ids, voxels = rows[0], rows[1]
    names = np.unique(np.concatenate([ids, merges.a, merges.b]))
    sizes = np.zeros(len(names), np.int64)
    np.add.at(sizes, np.searchsorted(names, ids), voxels)
    inside = state.grid
    begin, end = inside.box(boxes[-1].begin).begin, inside.box(vector(np.subtract(boxes[-1].end, 1))).end
    return Sample(
        boxes[-1], Box(begin, end).intersect(result.roi), boxes[-1] == state.blocks, tuple(boxes), *rows, names, sizes,
        merges, lut(names, merges, result.threshold),
    )  # fmt: skip


def _middle(state: TaskState, roi: Box) -> Vector | None:
    """The block with fragments that is nearest to the middle of the region; of several, the first in C order."""
    found = np.argwhere((state.keys != 0) & state.nonzero) + np.asarray(state.blocks.begin)
    if not len(found):
        return None
    centre = (np.add(roi.begin, roi.end) / 2 / state.grid.block_shape) - 0.5
    return vector(found[np.argmin(((found - centre) ** 2).sum(axis=1))])


def _boxes(result: Result, state: TaskState, middle: Vector, budget: Budget) -> Iterator[Box]:
    """Boxes of blocks around the middle, as long as the budget lasts."""
    tables, rows, before = result.output.tables("fragments", "fragments"), 0, Box(middle, middle)
    for reach in range(max(state.blocks.shape) + 1):
        box = Box(vector(np.subtract(middle, reach)), vector(np.add(middle, reach + 1))).intersect(state.blocks)
        if reach and box.size > budget.blocks:
            return
        for block in indices(box):
            if state.is_done(block) and not before.contains(Box(block, vector(np.add(block, 1)))):
                try:
                    rows += tables.rows(block)
                except DamageError:
                    continue  # reading it will say so
        if reach and (rows > budget.fragments or box == before):
            return
        yield box
        before = box


def _rows(result: Result, state: TaskState, boxes: list[Box]) -> tuple[Ids, Counts, Counts, Counts]:
    """Columns ids, voxels, points and shell of all fragments in the boxes."""
    parts = [(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros(0, np.int64))]
    for block in indices(boxes[-1]):
        columns = result.table("fragments", "fragments", block, ["id", "voxels", "point"])
        if columns is not None:
            own = Box(block, vector(np.add(block, 1)))
            shell = next(i for i, box in enumerate(boxes) if box.contains(own))
            ids = columns["id"].astype(np.uint64)
            points = columns["point"].astype(np.int64)
            parts.append((ids, columns["voxels"].astype(np.int64), points, np.full(len(ids), shell)))
    joined = list(zip(*parts, strict=True))
    return (np.concatenate(joined[0]), np.concatenate(joined[1]), np.concatenate(joined[2]),
            np.concatenate(joined[3]))  # fmt: skip


def _merges(result: Result, tree: Octree, ids: Ids) -> Merges | None:
    """The merges of all nodes above the fragments (n,) uint64; None if a table is damaged."""
    parts = [Merges(*(np.zeros(0, np.uint64) for _ in Merges._fields))]
    for level in range(tree.levels):
        for node in np.unique(tree.node_of(ids, level), axis=0):
            name = f"agglomerate-{level}"
            if not result.tasks[name].is_done(vector(node)):
                continue  # a node without work, or none above these blocks
            columns = result.table(name, f"merges-{level}", vector(node), list(Merges._fields))
            if columns is None:
                return None
            parts.append(Merges(*(columns[field].astype(np.uint64) for field in Merges._fields)))
    return sort_merges(*(np.concatenate([part[i] for part in parts]) for i in range(len(Merges._fields))))
