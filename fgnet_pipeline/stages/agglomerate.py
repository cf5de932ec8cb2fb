"""Stage agglomerate: the RAG -> a merge tree, node by node of an octree over the volume.

1. A leaf reads the edge tables of its blocks and adds up parallel edges. It keeps the edges that have an end inside the
   leaf and at least `agglomerate.min_contact` faces (docs/decisions/guards.md).
2. A fragment with an edge that leaves the node is frozen: it does not merge in this node. A cluster whose best edge
   leads to a frozen one freezes, too. All merges of the node are merges of one global agglomeration
   (`fgnet_pipeline.kernels.agglomeration.agglomerate` says why).
3. The remaining edges go to the parent: edges between frozen clusters, and edges that leave the node. The nodes on both
   sides of a leaving edge hold the same edge under the same names, because a frozen fragment never merges. The parent
   keeps one of the two copies.
4. No edge leaves the root. So nothing is frozen there, and the root decides all remaining merges. The merges of all
   nodes, sorted, are the merge tree of one global agglomeration.

The score of an edge is its mean affinity or a quantile of its affinities (`agglomerate.score`,
docs/decisions/scores.md). For a quantile every edge carries its histogram. The steps are the same.

Memory: a leaf holds the edges of its volume. A higher node holds the remaining edges of its eight children. Their
number grows with the surface of the children (docs/scale.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.histograms import LEVELS
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, check_edges, check_tree
from fgnet_pipeline.kernels.region_graph import sum_parallel_edges
from fgnet_pipeline.stages.checked_tables import (
    EDGE_COLUMNS,
    Edges,
    edge_columns,
    read_edges,
    read_fragment_ids,
    read_residual,
    refusal,
)
from fgnet_pipeline.stages.configuration import score_of, score_part
from fgnet_pipeline.stages.density import NODE_SECONDS, Density, node_edges, node_fragments
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import agglomerate_task, octree_of
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_tables
from fgnet_pipeline.stages.stage import WORKER_BYTES, Contradiction, Stage, TableOutput
from fgnet_pipeline.store.tables import Columns

#: Bytes of memory of a node, per edge and per fragment (docs/scale.md).
BYTES_PER_EDGE, BYTES_PER_FRAGMENT = 96, 100
#: Seconds per edge of a node, merging and LUT together (docs/scale.md).
EDGE_SECONDS = 6e-6
_EDGE = {"u": "uint64", "v": "uint64", "sum": "uint64", "count": "uint64"}
_MERGE = {"a": "uint64", "b": "uint64", "parent": "uint64", "sum": "uint64", "count": "uint64"}


class AgglomerateStage(Stage):
    """RAG -> merge tree."""

    name = "agglomerate"
    summary = "Agglomeration of the RAG, node by node of an octree: the merge tree."
    after = ("edges",)
    reads: ClassVar[Mapping[str, str]] = {"fragments": "tables"}
    tables = (
        TableOutput(
            "residual", _EDGE, redo="agglomerate", optional={"histogram": f"uint32[{LEVELS}]"}, row_bytes=10
        ),
        TableOutput("merges", _MERGE, redo="agglomerate", row_bytes=15),
    )  # fmt: skip
    by_voxel = False
    keys_in_tables = True

    def plan(self, job: Job) -> list[Task]:
        """One task per level. Each reads the level below it."""
        tree = octree_of(job)
        tasks = []
        for level in range(tree.levels):
            # The affinity of the last voxel of a leaf and the voxel after it is counted by the block of the latter.
            above: Vector = (1, 1, 1) if level == 0 else NO_CONTEXT
            fingerprint: dict[str, Any] = {
                "format": self.format_version,
                "leaf": list(tree.leaf),
                "level": level,
                "blocks": list(tree.blocks.block_shape),
            }
            if level == 0 and job.config.agglomerate.min_contact > 1:
                fingerprint["min_contact"] = job.config.agglomerate.min_contact
            fingerprint |= score_of(job.config).fingerprint(score_part(job.config))
            upstream = ("edges",) if level == 0 else (agglomerate_task(level - 1),)
            name, grid = agglomerate_task(level), tree.grid(level)
            tasks.append(Task(name, self.name, grid, NO_CONTEXT, above, job.roi, upstream, fingerprint))
        return tasks

    def open(self, job: Job, task: Task, worker: int) -> Agglomerate:
        """Make the object that agglomerates the nodes of one level."""
        return Agglomerate(job, task)

    def memory(self, job: Job, task: Task, density: Density, channels: int) -> int:
        """Estimate the bytes of a node from its edges and fragments."""
        edges, fragments = node_edges(job, task, density), node_fragments(job, task, density)
        return WORKER_BYTES + round(edges * BYTES_PER_EDGE + fragments * BYTES_PER_FRAGMENT)

    def rows(self, job: Job, task: Task, density: Density) -> float:
        """Estimate the merges of a node, which are about as many as its fragments."""
        return node_fragments(job, task, density)

    def seconds(self, job: Job, task: Task, density: Density) -> float:
        """Estimate the seconds of a node from its edges."""
        return NODE_SECONDS + EDGE_SECONDS * node_edges(job, task, density)

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """Check that the residual edges are possible edges and that the merges form a tree."""
        residual, merges = tables["residual"], tables["merges"]
        if reason := refusal(lambda: check_edges(*_sorted_edges(residual))):
            return Contradiction(reason, "residual")
        reason = refusal(lambda: check_tree(Merges(*(merges[name].astype(np.uint64) for name in Merges._fields))))
        return Contradiction.if_any(reason, "merges")


def _sorted_edges(columns: Columns) -> list[npt.NDArray[np.uint64]]:
    order = np.lexsort((columns["v"], columns["u"]))
    return [columns[name].astype(np.uint64)[order] for name in EDGE_COLUMNS]


class Agglomerate:
    """Agglomerates the nodes of one level."""

    def __init__(self, job: Job, task: Task) -> None:
        assert task.level is not None  # AgglomerateStage.plan names every task with its level
        self.job, self.level, self.tree = job, task.level, octree_of(job)
        self.merges = job.output.tables(f"merges-{self.level}", "agglomerate")
        self.residual = job.output.tables(f"residual-{self.level}", "agglomerate")

    @property
    def is_root(self) -> bool:
        """Whether this level is the root, one node that covers the region of interest."""
        return self.level == self.tree.levels - 1

    def load(self, block: Block) -> Edges:
        """The edges that the node holds, sorted by (u, v).

        Raises:
            DamageError: a table is damaged or contradicts another one.
        """
        return self._load_leaf(block) if self.level == 0 else self._load_children(block.index)

    def _load_leaf(self, leaf: Block) -> Edges:
        ids = read_fragment_ids(self.job, self.tree.blocks_of_leaf(leaf.index))
        blocks = self.job.plan.tasks["edges"].grid.covering(leaf.read)
        parts = [
            read_edges(self.job, self.tree, block, leaf.index, ids)
            for block in self.job.plan.active_blocks("edges", blocks)
        ]
        names = edge_columns(self.job)
        edges = dict(zip(names, sum_parallel_edges(*self._united(parts).values()), strict=True))
        # A leaf reads all contacts of its edges, so both leaves of an edge decide the same.
        keep = edges["count"] >= np.uint64(self.job.config.agglomerate.min_contact)
        return {name: values[keep] for name, values in edges.items()}

    def _load_children(self, node: Vector) -> Edges:
        children = self.job.plan.active_blocks(agglomerate_task(self.level - 1), self.tree.children(node))
        edges = self._united([read_residual(self.job, self.level - 1, child) for child in children])
        order = np.lexsort((edges["v"], edges["u"]))
        edges = {name: values[order] for name, values in edges.items()}
        same = np.zeros(len(order), bool)
        same[1:] = (edges["u"][1:] == edges["u"][:-1]) & (edges["v"][1:] == edges["v"][:-1])
        twin = np.flatnonzero(same)
        if any((values[twin] != values[twin - 1]).any() for values in edges.values()):
            raise DamageError(
                f"tables residual-{self.level - 1} below node {node} contradict each other: "
                "run again with --redo agglomerate"
            )
        return {name: values[~same] for name, values in edges.items()}

    def compute(self, block: Block, loaded: Edges) -> tuple[Columns, Columns]:
        """Agglomerate the node.

        Returns:
            (columns of the merges, columns of the residual edges).

        Raises:
            DamageError: an edge leaves the root.
        """
        u_in = self.tree.inside(loaded["u"], self.level, block.index)
        v_in = self.tree.inside(loaded["v"], self.level, block.index)
        inner = u_in & v_in
        leaving = {name: values[~inner] for name, values in loaded.items()}
        if self.is_root and len(leaving["u"]):
            raise DamageError(
                f"the root node has an edge ({leaving['u'][0]}, {leaving['v'][0]}) to a fragment outside: "
                "run again with --redo fragments"
            )
        frozen = None
        if not self.is_root:
            frozen = np.unique(np.concatenate([loaded["u"][u_in & ~v_in], loaded["v"][v_in & ~u_in]]))
        score, part = score_of(self.job.config), score_part(self.job.config)
        inside: dict[str, Any] = {name: values[inner] for name, values in loaded.items()}
        result = agglomerate(**inside, frozen=frozen, score=score, part=part)
        left = {name: getattr(result, name) for name in loaded}
        return dict(result.merges._asdict()), dict(self._united([left, leaving]))

    def _united(self, parts: list[Edges]) -> Edges:
        """The edges of several tables in one; empty columns if there are no tables."""
        empty: Edges = {name: np.zeros(0, np.uint64) for name in EDGE_COLUMNS}
        empty["histogram"] = np.zeros((0, LEVELS), np.uint32)
        return {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in edge_columns(self.job)}

    def store(self, block: Block, computed: tuple[Columns, Columns]) -> Outcome:
        """Write the residual edges and the merges."""
        merges, residual = computed
        first = self.residual.write(block.index, residual, block.key)
        second = self.merges.write(block.index, merges, block.key)
        return outcome_of_tables([(first, residual), (second, merges)], block.write.size)


STAGE = AgglomerateStage()
