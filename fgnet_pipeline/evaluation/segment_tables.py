"""Rows of some fragments in the stored tables, and the region adjacency graph (RAG) around these fragments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Vector, block_of_ids, indices, vector
from fgnet_pipeline.core.plan import single
from fgnet_pipeline.kernels.segment_rows import united
from fgnet_pipeline.stages.checked_tables import edge_columns, key_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import Octree

Ids = npt.NDArray[np.uint64]


def fragment_rows(job: Job, tree: Octree, ids: Ids) -> dict[str, npt.NDArray[Any]]:
    """The rows of the tables of fragments, sorted by id, one per fragment that exists.

    Args:
        job: of a finished agglomeration.
        tree: its octree.
        ids: fragments (n,) uint64; some of them may not exist.

    Returns:
        The columns id (m,), voxels (m,), and begin, end, point (m, 3) in voxels, zyx.

    Raises:
        DamageError: a table is missing or torn.
    """
    blocks: Iterable[Vector] = indices(job.plan.blocks("fragments"))
    if tree.packed:
        blocks = [vector(block) for block in np.unique(block_of_ids(ids), axis=0)]
    tables = job.output.tables("fragments", "fragments")
    names = ["id", "voxels", "begin", "end", "point"]
    parts = []
    for block in blocks:
        if job.plan.active("fragments", single(block)).all():
            table = tables.read(block, names, key_of(job, "fragments", block))
            chosen = np.isin(table["id"], ids)
            parts.append({name: table[name][chosen] for name in names})
    if not parts:
        return {name: np.zeros(0, np.int64) for name in names}
    return united({name: np.concatenate([part[name] for part in parts]) for name in names})


def graph_around(job: Job, rows: dict[str, npt.NDArray[Any]], members: Ids) -> nx.Graph:
    """The RAG around the members: every edge of which at least one fragment is a member.

    An edge has the sum of its affinities, their count, the sum of their positions and their histogram. Contacts below
    `agglomerate.min_contact` are left out, since agglomeration ignores them.

    Args:
        job: of a finished agglomeration.
        rows: of the members, from `fragment_rows`.
        members: fragments (n,) uint64.

    Raises:
        DamageError: a table is missing or torn.
    """
    grid, tables = job.plan.tasks["edges"].grid, job.output.tables("edges", "edges")
    blocks: set[Vector] = set()
    for begin, end in zip(rows["begin"], rows["end"], strict=True):
        # A contact belongs to the block of its upper voxel, which may be one voxel outside the fragment's box.
        box = Box(vector(begin), vector(np.add(end, 1))).intersect(job.roi)
        blocks.update(indices(grid.covering(box)))
    graph = nx.Graph()
    names = [*edge_columns(job), "position"]
    for block in sorted(blocks):
        if job.plan.active("edges", single(block)).all():
            table = tables.read(block, names, key_of(job, "edges", block))
            _add_edges(graph, table, np.isin(table["u"], members) | np.isin(table["v"], members))
    least = job.config.agglomerate.min_contact
    graph.remove_edges_from([(u, v) for u, v, count in graph.edges(data="count") if count < least])
    return graph


def _add_edges(graph: nx.Graph, table: dict[str, npt.NDArray[Any]], chosen: npt.NDArray[np.bool_]) -> None:
    bins = table.get("histogram", np.zeros((len(table["u"]), 0)))
    columns = [table[name][chosen] for name in ("u", "v", "sum", "count", "position")]
    for u, v, total, count, position, histogram in zip(*columns, bins[chosen], strict=True):
        if not graph.has_edge(int(u), int(v)):
            graph.add_edge(int(u), int(v), sum=0, count=0, position=np.zeros(3), histogram=0)
        edge = graph.edges[int(u), int(v)]
        edge["sum"] += int(total)
        edge["count"] += int(count)
        edge["position"] = edge["position"] + position
        edge["histogram"] = edge["histogram"] + histogram.astype(np.int64)
