"""The segments that the LUT gives to fragments, or to all fragments of a leaf of the octree: no voxel is read."""

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
    lut, tree = read_lut(job, 0, leaf), octree_of(job)
    tables = job.output.tables("fragments", "fragments")
    for block in job.plan.active_blocks("fragments", tree.blocks_of_leaf(leaf)):
        rows = tables.read(block, columns, key_of(job, "fragments", block))
        yield look_up(job, 0, leaf, lut, rows["id"].astype(np.uint64)), rows


def look_up(job: Job, level: int, node: Vector, lut: tuple[Ids, Ids], names: Ids) -> Ids:
    """The segments of fragments or clusters.

    Args:
        job: of the result.
        level: of the node.
        node: its index.
        lut: of the node, or the part that holds `names`: (names uint64 (n,), sorted; segments uint64 (n,)).
        names: uint64 (m,).

    Raises:
        DamageError: the LUT misses a name.
    """
    known, segments = lut
    at, found = places(known, names)
    if not found.all():
        raise node_tables(job, "lut", level).damage(node, "it misses a fragment of its node")
    return segments[at]
