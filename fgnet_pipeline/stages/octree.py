"""The octree over which agglomeration is divided, and its tasks.

Leaves are ``agglomerate.leaf_blocks`` blocks wide and anchored at voxel 0; every level doubles them, until one node
covers the region of interest. A fragment belongs to the leaf that holds its block; its id tells.
A lab's own fragments have arbitrary ids and may run through many blocks: they get one leaf that covers everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, Vector, block_of_ids, vector
from fgnet_pipeline.stages.job import Job

Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Octree:
    """``leaf``: voxels of a leaf, whole blocks; ``levels``: how many levels there are, leaf and root included.

    ``blocks``: the grid of the fragments stage. ``packed``: whether fragment ids tell their block.
    """

    leaf: Vector
    levels: int
    blocks: Grid
    packed: bool

    def grid(self, level: int) -> Grid:
        return Grid(vector(np.multiply(self.leaf, 1 << level)))

    def node_of(self, ids: Ids, level: int) -> npt.NDArray[np.int64]:
        """(n, 3) node indices at ``level`` that the fragments or clusters ``ids`` (n,) belong to."""
        if not self.packed:
            return np.zeros((len(ids), 3), np.int64)
        return block_of_ids(ids) * self.blocks.block_shape // np.asarray(self.grid(level).block_shape)

    def inside(self, ids: Ids, level: int, node: Vector) -> npt.NDArray[np.bool_]:
        """Which of ``ids`` belong to ``node``."""
        return np.asarray((self.node_of(ids, level) == node).all(axis=1))

    def children(self, node: Vector) -> Box:
        """The index box of the nodes one level below."""
        first = vector(np.multiply(node, 2))
        return Box(first, vector(np.add(first, 2)))

    def blocks_of_leaf(self, leaf: Vector) -> Box:
        """The index box of the fragment blocks in a leaf."""
        return self.blocks.covering(self.grid(0).box(leaf))


def agglomerate_task(level: int) -> str:
    """The task that agglomerates the nodes of ``level``; leaves are level 0."""
    return f"agglomerate-{level}"


def lut_task(level: int) -> str:
    """The task that makes the LUTs of the nodes of ``level``."""
    return f"lut-{level}"


def octree_of(job: Job) -> Octree:
    """The octree of a job. Leaves are rounded up to whole fragment blocks, so that a fragment lies in one leaf."""
    blocks = Grid(job.config.schedule.block_shape_of("fragments"))
    base = job.config.schedule.of("agglomerate").block_shape or blocks.block_shape
    if job.fragments is not None:
        width = int(np.ceil(np.max(np.divide(job.bounds.end, base))))
        return Octree(vector(np.multiply(base, 1 << max(0, width - 1).bit_length())), 1, blocks, packed=False)
    leaf = np.multiply(base, job.config.agglomerate.leaf_blocks)
    leaf = vector(-(-leaf // np.asarray(blocks.block_shape)) * blocks.block_shape)
    levels = 1
    while Grid(vector(np.multiply(leaf, 1 << (levels - 1)))).covering(job.roi).size > 1:
        levels += 1
    return Octree(leaf, levels, blocks, packed=True)
