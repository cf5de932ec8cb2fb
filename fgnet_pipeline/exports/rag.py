"""The region adjacency graph (RAG) of a finished result, leaf by leaf of the octree: its fragments and its edges.

The formats `edges`, `graph` and `webknossos` share these two stages.

Several edge tables may count faces of one pair of fragments, because blocks of edges need not be blocks of fragments.
A pair must be exported once, with all of its faces. Therefore one leaf owns it: the leaf of the larger id, v.

1. A face belongs to its upper voxel. Let u and v touch in different leaves. Two leaves that touch in a face differ
   along one axis, and ids grow along every axis, so the upper voxel of the face is in v. If u and v lie in one leaf, so
   do both voxels.
2. So the blocks of edges that touch the leaf have counted all faces of its pairs. The leaf reads these tables, keeps
   the pairs that it owns, and adds up the rows of a pair.
3. The segment of u comes from the LUT of the leaf of u: the leaf itself, or the one before it along one axis.

Memory: one leaf, as for agglomeration. A lab's own fragments have one leaf that holds the whole volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.numbering import count_task
from fgnet_pipeline.exports.rag_values import scores_of, segments_of
from fgnet_pipeline.exports.written_ids import WrittenIds
from fgnet_pipeline.kernels.agglomeration.merge_tree import MAXIMUM_AFFINITY
from fgnet_pipeline.kernels.region_graph import sum_parallel_edges
from fgnet_pipeline.stages.agglomerate import BYTES_PER_EDGE, BYTES_PER_FRAGMENT
from fgnet_pipeline.stages.checked_tables import (
    Edges,
    edge_columns,
    key_of,
    read_edges,
    read_fragment_ids,
)
from fgnet_pipeline.stages.density import Density, node_edges, node_fragments
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import lut_task, octree_of
from fgnet_pipeline.stages.outcome import Outcome, write_table
from fgnet_pipeline.stages.stage import WORKER_BYTES, Stage, TableOutput
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]
#: Columns of edge tables that only exports read.
MORE = ("position", "channel_sum", "channel_count")
AXES = ("z", "y", "x")
#: Columns of `RagEdges`, in their order (docs/reference/exports-graphs.md).
EDGE_DTYPES = {
    "u": "uint64", "v": "uint64", "sum": "uint64", "count": "uint64", "affinity": "float64", "score": "float64",
    "used": "bool", "merged": "bool", "segment_u": "uint64", "segment_v": "uint64",
    **{f"position_{axis}": "float64" for axis in AXES},
    **{f"sum_{axis}": "uint64" for axis in AXES},
    **{f"count_{axis}": "uint64" for axis in AXES},
}  # fmt: skip
#: Columns of `RagNodes`: ids as they are exported, and as they are stored.
NODE_DTYPES = {
    "id": "uint64", "segment": "uint64", "stored_id": "uint64", "stored_segment": "uint64", "voxels": "int64",
    "point": "int64[3]",
}  # fmt: skip


class RagNodesStage(Stage):
    """Fragment tables and LUT -> one table of the fragments of a leaf."""

    name = "rag-nodes"
    summary = "Every fragment of a leaf of the octree once, with its segment, its voxels and a point inside."
    reads: ClassVar[Mapping[str, str]] = {"fragments": "tables"}
    tables = (TableOutput("rag-nodes", NODE_DTYPES, redo="rag-nodes"),)
    scheduled_as = "agglomerate"
    by_voxel = False

    def plan(self, job: Job) -> list[Task]:
        """One task on the leaves of the octree."""
        tree = octree_of(job)
        fingerprint = {"format": self.format_version, "leaf": list(tree.leaf), "compact": exported(job).is_compact}
        upstream = ("fragments", lut_task(0), *_numberings(job))
        return [
            Task(self.name, self.name, tree.grid(0), NO_CONTEXT, NO_CONTEXT, job.roi, upstream, fingerprint)
        ]  # fmt: skip

    def open(self, job: Job, task: Task, worker: int) -> RagNodes:
        """Make the object that lists the fragments of leaves."""
        return RagNodes(exported(job))

    def memory(self, job: Job, task: Task, density: Density, channels: int) -> int:
        """Estimate the bytes of a leaf from its fragments."""
        return WORKER_BYTES + round(node_fragments(job, task, density) * BYTES_PER_FRAGMENT)


class RagNodes:
    """Lists the fragments of leaves, sorted by id."""

    def __init__(self, job: ExportJob) -> None:
        self.job, self.tree, self.source = job, octree_of(job), job.source
        self.fragments, self.segments = WrittenIds(job, "fragments"), WrittenIds(job, "segments")
        self.tables = job.output.tables("rag-nodes", "rag-nodes")

    def load(self, block: Block) -> Columns:
        """All rows of the fragment tables of the leaf, in the order of their blocks, and their segments.

        Raises:
            DamageError: a table is damaged or contradicts another one.
        """
        tables = self.source.output.tables("fragments", "fragments")
        names = ["id", "voxels", "point"]
        parts = [
            tables.read(index, names, key_of(self.source, "fragments", index))
            for index in self.job.plan.active_blocks("fragments", self.tree.blocks_of_leaf(block.index))
        ]
        if not parts:
            return {"id": np.zeros(0, np.uint64), "voxels": np.zeros(0, np.int64), "point": np.zeros((0, 3), np.int64)}
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def compute(self, block: Block, loaded: Columns) -> Columns:
        """One row per fragment. Fragments of a lab may have rows in the tables of several blocks."""
        ids, first, which = np.unique(loaded["id"].astype(np.uint64), return_index=True, return_inverse=True)
        voxels = np.zeros(len(ids), np.int64)
        np.add.at(voxels, which, loaded["voxels"])
        segments = segments_of(self.source, self.tree, ids)
        return {
            "id": self.fragments.of(ids),
            "segment": self.segments.of(segments),
            "stored_id": ids,
            "stored_segment": segments,
            "voxels": voxels,
            "point": loaded["point"][first],
        }

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the table of the leaf."""
        return write_table(self.tables, block, computed)


class RagEdgesStage(Stage):
    """Edge tables and LUT -> one table of the edges that a leaf owns."""

    name = "rag-edges"
    summary = "Every pair of touching fragments once, with its score, its segments and the place of its contact."
    reads: ClassVar[Mapping[str, str]] = {"fragments": "tables"}
    tables = (TableOutput("rag-edges", EDGE_DTYPES, redo="rag-edges"),)
    scheduled_as = "agglomerate"
    by_voxel = False

    def plan(self, job: Job) -> list[Task]:
        """One task on the leaves of the octree. It reads the LUTs of the leaves before a leaf, too."""
        tree = octree_of(job)
        fingerprint: dict[str, Any] = {
            "format": self.format_version,
            "leaf": list(tree.leaf),
            "compact": exported(job).is_compact,
            "min_contact": job.config.agglomerate.min_contact,
            "voxel_size": list(job.frame.voxel_size),
            "offset": list(job.frame.offset),
        }
        upstream = ("fragments", "edges", lut_task(0), *_numberings(job))
        return [
            Task(self.name, self.name, tree.grid(0), (1, 1, 1), NO_CONTEXT, job.roi, upstream, fingerprint)
        ]  # fmt: skip

    def open(self, job: Job, task: Task, worker: int) -> RagEdges:
        """Make the object that lists the edges of leaves."""
        return RagEdges(exported(job))

    def memory(self, job: Job, task: Task, density: Density, channels: int) -> int:
        """Estimate the bytes of a leaf from its edges and fragments. A row has three times the columns of an edge."""
        edges, fragments = node_edges(job, task, density), node_fragments(job, task, density)
        return WORKER_BYTES + round(edges * 3 * BYTES_PER_EDGE + fragments * BYTES_PER_FRAGMENT)


class RagEdges:
    """Lists the edges that leaves own. docs/reference/exports-graphs.md lists the columns."""

    def __init__(self, job: ExportJob) -> None:
        self.job, self.tree, self.source = job, octree_of(job), job.source
        self.fragments, self.segments = WrittenIds(job, "fragments"), WrittenIds(job, "segments")
        self.tables = job.output.tables("rag-edges", "rag-edges")

    def load(self, block: Block) -> Columns:
        """The rows of all edge tables for the pairs that the leaf owns; a pair may have several rows.

        Raises:
            DamageError: a table is damaged or contradicts another one.
        """
        leaf = block.index
        ids = read_fragment_ids(self.source, self.tree.blocks_of_leaf(leaf))
        parts = []
        for index in self.job.plan.active_blocks("edges", self.job.plan.tasks["edges"].grid.covering(block.write)):
            edges = read_edges(self.source, self.tree, index, leaf, ids, MORE)
            owned = self.tree.inside(edges["v"], 0, leaf)
            parts.append({name: values[owned] for name, values in edges.items()})
        names = [*edge_columns(self.source), *MORE]
        if not parts:
            return {name: np.zeros((0, 3) if name in MORE else 0, np.uint64) for name in names}
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def compute(self, block: Block, loaded: Columns) -> Columns:
        """One row per pair, sorted by (u, v)."""
        values: list[npt.NDArray[Any]] = list(loaded.values())
        edges: Edges = dict(zip(loaded, sum_parallel_edges(*values), strict=True))
        segment_u, segment_v = (segments_of(self.source, self.tree, edges[end]) for end in ("u", "v"))
        frame, count = self.job.frame, edges["count"]
        # A voxel's index is its centre, and the offset is the corner of voxel 0.
        centre = edges["position"] / np.maximum(count, np.uint64(1))[:, None].astype(np.float64) + 0.5
        position = centre * np.asarray(frame.voxel_size) + np.asarray(frame.offset)
        columns = {
            "u": self.fragments.of(edges["u"]),
            "v": self.fragments.of(edges["v"]),
            "sum": edges["sum"],
            "count": count,
            "affinity": edges["sum"] / (MAXIMUM_AFFINITY * count.astype(np.float64)),
            "score": scores_of(self.source, edges),
            "used": count >= np.uint64(self.job.config.agglomerate.min_contact),
            "merged": segment_u == segment_v,
            "segment_u": self.segments.of(segment_u),
            "segment_v": self.segments.of(segment_v),
        }
        columns |= {f"position_{axis}": position[:, i] for i, axis in enumerate(AXES)}
        columns |= {f"sum_{axis}": edges["channel_sum"][:, i] for i, axis in enumerate(AXES)}
        return columns | {f"count_{axis}": edges["channel_count"][:, i] for i, axis in enumerate(AXES)}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the table of the leaf."""
        return write_table(self.tables, block, computed)


#: Each stage is one object, which several formats name.
RAG_NODES, RAG_EDGES = RagNodesStage(), RagEdgesStage()


def _numberings(job: Job) -> tuple[str, ...]:
    """The tasks that number ids, if the export wants it."""
    return (count_task("fragments"), count_task("segments")) if exported(job).is_compact else ()
