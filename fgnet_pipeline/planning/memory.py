"""What one block of each stage needs, by formula: memory of voxels read and written, edges of an octree node.

The formulas are estimates; ``benchmarks/block_memory.py`` sets them beside measured blocks, which has not been done
yet. What the network itself needs for a tile is not in them: a measured block knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages.job import Job

#: Bytes of a worker before its first block: the interpreter and everything that it imports, PyTorch included.
BASE = 450 << 20
#: Of agglomeration, see ``kernels/agglomeration.py``; a LUT holds the ids and segments of a node twice.
BYTES_PER_EDGE, BYTES_PER_FRAGMENT, BYTES_PER_LUT_ROW = 96, 100, 64
#: Clusters that leave a node, over the fragments of its surface (docs/scale.md).
FROZEN_PER_SURFACE = 2.5


@dataclass(frozen=True)
class Density:
    """Fragments and edges per million voxels; ``source`` says where the numbers come from."""

    fragments: float = 180.0
    edges: float = 990.0
    source: str = "assumed, as in FIB-25 (docs/scale.md)"


def read_shape(job: Job, task: Task) -> Vector:
    """Voxels (z, y, x) that a block in the middle of the volume reads."""
    z, y, x = (
        min(block + below + above, whole)
        for block, below, above, whole in zip(
            task.grid.block_shape, task.below, task.above, task.reads.shape, strict=True
        )
    )
    return z, y, x


def by_formula(job: Job, task: Task, density: Density, channels: int) -> int:
    """Bytes that a worker needs for one block of ``task`` whose context lies in the volume."""
    if task.stage in ("agglomerate", "lut"):
        edges = node_edges(job, task, density)
        fragments = edges * density.fragments / density.edges
        if task.stage == "lut":
            return BASE + round(fragments * BYTES_PER_LUT_ROW)
        return BASE + round(edges * BYTES_PER_EDGE + fragments * BYTES_PER_FRAGMENT)
    read, written = prod(read_shape(job, task)), prod(task.grid.block_shape)
    of_read, of_written = BYTES_PER_VOXEL[task.stage]
    return BASE + read * of_read(channels) + written * of_written(channels)


#: stage -> bytes a voxel that is read, and a voxel that is written, given the channels of the affinities.
BYTES_PER_VOXEL = {
    "predict": (lambda c: 16, lambda c: 18 * c + 8),
    "fragments": (lambda c: c + 32, lambda c: 32),
    "edges": (lambda c: c + 32, lambda c: 0),
    "relabel": (lambda c: 8, lambda c: 40),
}


def node_edges(job: Job, task: Task, density: Density) -> float:
    """Edges that a node of the octree holds: those of its volume in a leaf, above it what children left.

    Children leave the clusters on their surfaces: the faces of the node, and those between its children.
    """
    shape = np.minimum(task.grid.block_shape, job.roi.shape).astype(float)
    level = int(task.name.rpartition("-")[2])
    if level == 0:
        return float(np.prod(shape)) * density.edges / 1e6
    spacing = (1e6 / density.fragments) ** (1 / 3)
    faces = 2 * (shape[0] * shape[1] + shape[1] * shape[2] + shape[0] * shape[2])
    is_root = (shape >= job.roi.shape).all()
    surface = faces * (1 if is_root else 2) / spacing**2
    return min(
        float(FROZEN_PER_SURFACE * surface * density.edges / density.fragments),
        float(np.prod(shape)) * density.edges / 1e6,
    )
