"""Formulas for the size of a block: the voxels that it reads, and the edges of an octree node.

The formulas are estimates. `benchmarks/block_memory.py` compares them with measured blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.task import Task

if TYPE_CHECKING:
    from fgnet_pipeline.stages.job import Job

#: Clusters that a node hands to its parent, per fragment of its surface (docs/scale.md).
FROZEN_PER_SURFACE = 2.5
#: Seconds that every node takes, however small it is (docs/scale.md).
NODE_SECONDS = 0.05


@dataclass(frozen=True)
class Density:
    """Fragments and edges per million voxels.

    Attributes:
        fragments: per million voxels.
        edges: per million voxels.
        source: where the numbers come from.
    """

    fragments: float = 180.0
    edges: float = 990.0
    source: str = "assumed, as in FIB-25 (docs/scale.md)"


def read_shape(task: Task) -> Vector:
    """The voxels (z, y, x) that a block in the middle of the volume reads."""
    z, y, x = (
        min(block + below + above, whole)
        for block, below, above, whole in zip(
            task.grid.block_shape, task.below, task.above, task.reads.shape, strict=True
        )
    )
    return z, y, x


def node_fragments(job: Job, task: Task, density: Density) -> float:
    """Estimate the fragments of a leaf, or the clusters that the children of a higher node hand to it."""
    return node_edges(job, task, density) * density.fragments / density.edges


def written_voxels(job: Job, task: Task) -> float:
    """The number of voxels that a block in the middle of the region of interest writes."""
    return float(np.prod(np.minimum(task.grid.block_shape, job.roi.shape)))


def node_edges(job: Job, task: Task, density: Density) -> float:
    """Estimate the edges that a node of the octree holds.

    A leaf holds the edges of its volume. A higher node holds the edges of the clusters that its children hand to it.
    Their number is proportional to the surfaces of the children: the outer faces of the node, and the faces between its
    children, which together have the same area. At the root only the faces between children count.
    """
    shape = np.minimum(task.grid.block_shape, job.roi.shape).astype(float)
    if task.level == 0:
        return float(np.prod(shape)) * density.edges / 1e6
    spacing = (1e6 / density.fragments) ** (1 / 3)
    faces = 2 * (shape[0] * shape[1] + shape[1] * shape[2] + shape[0] * shape[2])
    is_root = (shape >= job.roi.shape).all()
    surface = faces * (1 if is_root else 2) / spacing**2
    return min(
        float(FROZEN_PER_SURFACE * surface * density.edges / density.fragments),
        float(np.prod(shape)) * density.edges / 1e6,
    )
