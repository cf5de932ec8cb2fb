"""Checked reading of the tables between fragments and segmentation.

Every table carries the key of the block that made it. The functions here compare it with the key that the plan gives
this block now. So a table from other fragments, another region or another configuration is refused, even if all of its
ids exist. The content of a table is checked before it is used. An error names the file and the stage to redo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Vector, block_of_ids
from fgnet_pipeline.kernels.agglomeration.histograms import check_histograms
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, check_edges, check_tree
from fgnet_pipeline.stages.configuration import score_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import Octree
from fgnet_pipeline.store.tables import Columns, Tables

EDGE_COLUMNS = ["u", "v", "sum", "count"]
Ids = npt.NDArray[np.uint64]
#: EDGE_COLUMNS, uint64 (m,), and for quantile scores `histogram`, unsigned (m, 256).
Edges = dict[str, npt.NDArray[Any]]


def node_tables(job: Job, kind: str, level: int) -> Tables:
    """The tables `merges`, `residual` or `lut` of one octree level."""
    return job.output.tables(f"{kind}-{level}", "agglomerate")


def key_of(job: Job, task: str, block: Vector) -> str:
    """The key that a table of `block` must carry."""
    return job.plan.identity(task, block)[0]


def edge_columns(job: Job) -> list[str]:
    """The columns of an edge table that agglomeration reads."""
    return EDGE_COLUMNS if not score_of(job.config).needs_histogram else [*EDGE_COLUMNS, "histogram"]


def read_fragment_ids(job: Job, blocks: Box) -> Ids:
    """Read the ids of all fragments in an index box of blocks.

    Returns:
        uint64 (n,), sorted and unique.

    Raises:
        DamageError: a table is damaged or does not belong to this plan.
    """
    tables = job.output.tables("fragments", "fragments")
    found = [np.zeros(0, np.uint64)]
    for block in job.plan.active_blocks("fragments", blocks):
        ids = tables.read(block, ["id"], key_of(job, "fragments", block))["id"].astype(np.uint64)
        if (ids == 0).any() or len(np.unique(ids)) != len(ids):
            raise tables.damage(block, "it lists a fragment twice, or background")
        found.append(ids)
    return np.unique(np.concatenate(found))


def read_edges(job: Job, tree: Octree, block: Vector, leaf: Vector, ids: Ids, more: tuple[str, ...] = ()) -> Edges:
    """Read the edges that one block counted and that have an end in one leaf.

    An end in the leaf must be a fragment of the leaf. An end in another leaf must belong to a block of fragments that
    the edges block reads; the other leaf checks whether this fragment exists.

    Args:
        job: the opened job.
        tree: its octree.
        block: index in the grid of the edges stage.
        leaf: index of the leaf.
        ids: sorted fragments of the leaf, uint64 (n,).
        more: names of further columns to read.

    Raises:
        DamageError: the table is damaged, does not belong to this plan, or names an unknown fragment.
    """
    tables = job.output.tables("edges", "edges")
    columns = tables.read(block, [*edge_columns(job), *more], key_of(job, "edges", block))
    edges = _as_edges(columns) | {name: columns[name] for name in more}
    _checked(tables, block, lambda: _check_edges(edges))
    ends = np.concatenate([edges["u"], edges["v"]])
    mine = tree.inside(ends, 0, leaf)
    unknown = ends[mine & ~np.isin(ends, ids)]
    if tree.packed:
        unknown = np.concatenate([unknown, ends[~_may_exist(job, block, ends)]])
    if len(unknown):
        raise tables.damage(block, f"it names fragment {unknown[0]}, which does not exist")
    keep = mine[: len(edges["u"])] | mine[len(edges["u"]) :]
    return {name: values[keep] for name, values in edges.items()}


def _may_exist(job: Job, block: Vector, ids: Ids) -> npt.NDArray[np.bool_]:
    """Which ids (n,) belong to active blocks of fragments that the edges block `block` reads."""
    around = job.plan.tasks["fragments"].grid.covering(job.plan.tasks["edges"].read_box(block))
    at = block_of_ids(ids) - around.begin
    inside = ((at >= 0) & (at < around.shape)).all(axis=1)
    at[~inside] = 0
    return np.asarray(inside & job.plan.active("fragments", around)[tuple(at.T)])


def read_residual(job: Job, level: int, node: Vector) -> Edges:
    """Read the edges that a node handed to its parent, sorted by (u, v).

    Raises:
        DamageError: the table is damaged or does not belong to this plan.
    """
    tables = node_tables(job, "residual", level)
    edges = _as_edges(tables.read(node, edge_columns(job), key_of(job, f"agglomerate-{level}", node)))
    order = np.lexsort((edges["v"], edges["u"]))
    edges = {name: values[order] for name, values in edges.items()}
    _checked(tables, node, lambda: _check_edges(edges))
    return edges


def read_entering(job: Job, tree: Octree, level: int, node: Vector) -> Ids:
    """Read the sorted names that a node starts from: fragments of a leaf, or clusters that children handed on."""
    if level == 0:
        return read_fragment_ids(job, tree.blocks_of_leaf(node))
    found = [np.zeros(0, np.uint64)]
    for child in job.plan.active_blocks(f"agglomerate-{level - 1}", tree.children(node)):
        edges = read_residual(job, level - 1, child)
        ends = np.concatenate([edges["u"], edges["v"]])
        found.append(ends[tree.inside(ends, level - 1, child)])
    return np.unique(np.concatenate(found))


def read_leaving(job: Job, tree: Octree, level: int, node: Vector, entering: Ids) -> Ids:
    """Read the sorted names of the clusters that a node handed to its parent.

    Args:
        job: the opened job.
        tree: its octree.
        level: of the node.
        node: its index.
        entering: sorted names that the node started from, uint64 (n,).

    Raises:
        DamageError: the table is damaged, does not belong to this plan, or names a cluster that is not in `entering`.
    """
    edges = read_residual(job, level, node)
    ends = np.unique(np.concatenate([edges["u"], edges["v"]]))
    names = ends[tree.inside(ends, level, node)]
    unknown = names[~np.isin(names, entering)]
    if len(unknown):
        raise node_tables(job, "residual", level).damage(node, f"it names fragment {unknown[0]}, which does not exist")
    return names


def read_merges(job: Job, tree: Octree, level: int, node: Vector, ids: Ids | None = None) -> Merges:
    """Read the merges of one node, in canonical order.

    Args:
        job: the opened job.
        tree: its octree.
        level: of the node.
        node: its index.
        ids: sorted names that the node started from, uint64 (n,), if known.

    Raises:
        DamageError: the table is damaged, does not belong to this plan, or merges a cluster of another node.
    """
    tables = node_tables(job, "merges", level)
    columns = tables.read(node, list(Merges._fields), key_of(job, f"agglomerate-{level}", node))
    merges = Merges(*(columns[name].astype(np.uint64) for name in Merges._fields))
    _checked(tables, node, lambda: check_tree(merges, ids))
    if not (tree.inside(merges.a, level, node).all() and tree.inside(merges.b, level, node).all()):
        raise tables.damage(node, "it merges a cluster of another node")
    return merges


def read_lut(job: Job, level: int, node: Vector) -> tuple[Ids, Ids]:
    """Read the LUT of one node.

    Returns:
        (names, segments), uint64 (n,) each, sorted by name.
    """
    tables = node_tables(job, "lut", level)
    columns = tables.read(node, ["fragment", "segment"], key_of(job, f"lut-{level}", node))
    return _lut_columns(tables, node, columns)


def read_lut_range(job: Job, leaf: Vector, low: int, high: int) -> tuple[Ids, Ids]:
    """Read the part of the LUT of a leaf that holds the fragments with ids in [low, high]. It may hold more rows.

    Returns:
        (fragments, segments), uint64 (n,) each, sorted by fragment.
    """
    tables = node_tables(job, "lut", 0)
    columns = tables.read_range(leaf, "fragment", low, high, key_of(job, "lut-0", leaf))
    return _lut_columns(tables, leaf, columns)


def _lut_columns(tables: Tables, node: Vector, columns: Columns) -> tuple[Ids, Ids]:
    names, segments = (columns[name].astype(np.uint64) for name in ("fragment", "segment"))
    if (names[1:] <= names[:-1]).any() or (segments == 0).any():
        raise tables.damage(node, "its fragments are out of order, or one has no segment")
    return names, segments


def listed_ids(job: Job, blocks: Box) -> Ids | None:
    """Ids in the fragment tables of an index box of blocks, uint64 (n,), whatever the keys of the tables.

    Returns:
        None if a table cannot be read; `fgnet verify` reports that table separately.
    """
    tables = job.output.tables("fragments", "fragments")
    found = [np.zeros(0, np.uint64)]
    try:
        for block in job.plan.active_blocks("fragments", blocks):
            found.append(tables.read(block, ["id"])["id"].astype(np.uint64))
    except DamageError:
        return None
    return np.concatenate(found)


def refusal(check: Callable[[], None]) -> str | None:
    """Say why `check` refuses the columns of a table; None if it accepts them."""
    try:
        check()
    except DamageError as error:
        return error.reason
    except KeyError as error:
        return f"it has no column {error}"
    return None


def _as_edges(columns: Columns) -> Edges:
    edges: Edges = {name: columns[name].astype(np.uint64) for name in EDGE_COLUMNS}
    return edges | {name: values for name, values in columns.items() if name == "histogram"}


def _check_edges(edges: Edges) -> None:
    check_edges(*(edges[name] for name in EDGE_COLUMNS))
    if "histogram" in edges:
        check_histograms(edges["histogram"], edges["sum"], edges["count"])


def _checked(tables: Tables, index: Vector, check: Callable[[], None]) -> None:
    """Run `check`. Its error is raised again with the file and the stage to redo."""
    try:
        check()
    except DamageError as error:
        raise tables.damage(index, str(error)) from error
