"""The fragments of a leaf of the octree with the segments that the LUT gives them: no voxel is read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.kernels.relabel import places
from fgnet_pipeline.stages.checked_tables import key_of, node_tables, read_lut
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]


def fragments_of_leaf(job: Job, leaf: Vector, columns: list[str]) -> Iterator[tuple[Ids, Columns]]:
    """The fragments of a leaf, block by block.

    Args:
        job: with its plan; fragments and LUT are finished.
        leaf: index of the leaf.
        columns: of the tables of fragments, with `id` among them.

    Yields:
        (segment of each row uint64 (n,), columns) of one block.

    Raises:
        DamageError: a table is damaged or does not belong to this plan, or the LUT misses a fragment.
    """
    (names, segments), tree = read_lut(job, 0, leaf), octree_of(job)
    tables = job.output.tables("fragments", "fragments")
    for block in job.plan.active_blocks("fragments", tree.blocks_of_leaf(leaf)):
        rows = tables.read(block, columns, key_of(job, "fragments", block))
        at, found = places(names, rows["id"].astype(np.uint64))
        if not found.all():
            raise node_tables(job, "lut", 0).damage(leaf, "it misses a fragment of its node")
        yield segments[at], rows
