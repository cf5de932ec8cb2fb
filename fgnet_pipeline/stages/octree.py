"""The octree over which agglomeration is divided, and the names of its tasks.

A leaf is `agglomerate.leaf_blocks` blocks wide, and leaves are anchored at voxel 0. Every level doubles the width,
until one node covers the region of interest. A fragment belongs to the leaf that holds its block, and its id tells
its block.

A lab's own fragments have arbitrary ids and may extend over many blocks. They get one leaf that covers everything.
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
    """The levels of an octree over the volume.

    Attributes:
        leaf: voxels of a leaf, zyx, a multiple of the fragment block.
        levels: number of levels, from the leaves (level 0) to the root.
        blocks: the grid of the fragments stage.
        packed: whether a fragment id tells its block. False for a lab's own fragments.
    """

    leaf: Vector
    levels: int
    blocks: Grid
    packed: bool

    def grid(self, level: int) -> Grid:
        """The grid of the nodes of `level`."""
        return Grid(vector(np.multiply(self.leaf, 1 << level)))

    def node_of(self, ids: Ids, level: int) -> npt.NDArray[np.int64]:
        """The nodes that fragments or clusters belong to.

        Args:
            ids: uint64 (n,).
            level: of the nodes.

        Returns:
            Node indices, int64 (n, 3), zyx.
        """
        if not self.packed:
            return np.zeros((len(ids), 3), np.int64)
        return block_of_ids(ids) * self.blocks.block_shape // np.asarray(self.grid(level).block_shape)

    def inside(self, ids: Ids, level: int, node: Vector) -> npt.NDArray[np.bool_]:
        """Which of `ids` (n,) belong to `node`, as bool (n,)."""
        return np.asarray((self.node_of(ids, level) == node).all(axis=1))

    def children(self, node: Vector) -> Box:
        """The index box of the children of `node`, one level below it."""
        first = vector(np.multiply(node, 2))
        return Box(first, vector(np.add(first, 2)))

    def blocks_of_leaf(self, leaf: Vector) -> Box:
        """The index box of the fragment blocks in a leaf."""
        return self.blocks.covering(self.grid(0).box(leaf))


def agglomerate_task(level: int) -> str:
    """Name of the task that agglomerates the nodes of `level`. Leaves are level 0."""
    return f"agglomerate-{level}"


def lut_task(level: int) -> str:
    """Name of the task that makes the LUTs of the nodes of `level`."""
    return f"lut-{level}"


def octree_of(job: Job) -> Octree:
    """The octree of a job. Leaves are rounded up to whole fragment blocks, so that every fragment lies in one leaf."""
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
