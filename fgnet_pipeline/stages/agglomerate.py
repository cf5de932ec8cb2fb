"""Stage 4: the RAG -> a merge tree, node by node of an octree over the volume.

1. A leaf reads the edge tables of its blocks and adds up parallel edges. It keeps those with an end inside it and at
   least ``agglomerate.min_contact`` faces (docs/decisions/guards.md).
2. Fragments with an edge that leaves the node are frozen; everything else merges exactly as it would globally
   (:mod:`fgnet_pipeline.kernels.agglomeration.agglomerate` says why).
3. What is left, edges between frozen clusters and edges that leave, goes to the parent. Both sides of a leaving edge
   hold it whole and under the same names, because a frozen fragment is never merged; the parent keeps one of the two.
4. At the root nothing leaves, so nothing is frozen and everything merges. The merges of all nodes, sorted, are the
   tree that one process would have found.

Edges are scored by their mean affinity or by a quantile (``agglomerate.score``, docs/decisions/scores.md); for
quantiles their histograms go with them, and everything else is the same.

A node holds the edges of its leaf, or what its eight children left: about their surfaces (docs/scale.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.plan import NO_CONTEXT, Task
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.histograms import LEVELS
from fgnet_pipeline.kernels.agglomeration.scores.score import scores
from fgnet_pipeline.kernels.region_graph import sum_parallel_edges
from fgnet_pipeline.stages.checked_tables import (
    EDGE_COLUMNS,
    Edges,
    edge_columns,
    read_edges,
    read_fragment_ids,
    read_residual,
)
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.stage import Outcome, outcome_of_tables
from fgnet_pipeline.store.tables import Columns

FORMAT = 1


def task_name(level: int) -> str:
    return f"agglomerate-{level}"


def plan_tasks(job: Job) -> list[Task]:
    """One task a level, each reading the level below it."""
    tree = octree_of(job)
    tasks = []
    for level in range(tree.levels):
        # An edge of a fragment may be counted by the block beyond it, one voxel further.
        above: Vector = (1, 1, 1) if level == 0 else NO_CONTEXT
        fingerprint: dict[str, Any] = {
            "format": FORMAT,
            "leaf": list(tree.leaf),
            "level": level,
            "blocks": list(tree.blocks.block_shape),
        }
        if level == 0 and job.config.agglomerate.min_contact > 1:
            fingerprint["min_contact"] = job.config.agglomerate.min_contact
        settings = job.config.agglomerate
        fingerprint |= scores()[settings.score].fingerprint(settings.quantile_part)
        upstream = ("edges",) if level == 0 else (task_name(level - 1),)
        tasks.append(
            Task(task_name(level), "agglomerate", tree.grid(level), NO_CONTEXT, above, job.roi, upstream, fingerprint)
        )
    return tasks


class Agglomerate:
    """The nodes of one level."""

    def __init__(self, job: Job, level: int) -> None:
        self.job, self.level, self.tree = job, level, octree_of(job)
        self.task = job.plan.tasks[task_name(level)]
        self.merges = job.output.tables(f"merges-{level}", "agglomerate")
        self.residual = job.output.tables(f"residual-{level}", "agglomerate")

    @property
    def is_root(self) -> bool:
        return self.level == self.tree.levels - 1

    def load(self, block: Vector) -> Edges:
        return self._load_leaf(block) if self.level == 0 else self._load_children(block)

    def _load_leaf(self, leaf: Vector) -> Edges:
        ids = read_fragment_ids(self.job, self.tree.blocks_of_leaf(leaf))
        blocks = self.job.plan.tasks["edges"].grid.covering(self.task.read_box(leaf))
        parts = [
            read_edges(self.job, self.tree, block, leaf, ids) for block in self.job.plan.active_blocks("edges", blocks)
        ]
        names = edge_columns(self.job)
        edges = dict(zip(names, sum_parallel_edges(*self._united(parts).values()), strict=True))
        # A leaf sees all contacts of an edge that touches it, so both leaves of an edge decide the same.
        keep = edges["count"] >= np.uint64(self.job.config.agglomerate.min_contact)
        return {name: values[keep] for name, values in edges.items()}

    def _load_children(self, node: Vector) -> Edges:
        children = self.job.plan.active_blocks(task_name(self.level - 1), self.tree.children(node))
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

    def compute(self, block: Vector, loaded: Edges) -> tuple[Columns, Columns]:
        u_in = self.tree.inside(loaded["u"], self.level, block)
        v_in = self.tree.inside(loaded["v"], self.level, block)
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
        settings = self.job.config.agglomerate
        score = scores()[settings.score]
        inside: dict[str, Any] = {name: values[inner] for name, values in loaded.items()}
        result = agglomerate(**inside, frozen=frozen, score=score, part=settings.quantile_part)
        left = {name: getattr(result, name) for name in loaded}
        return dict(result.merges._asdict()), dict(self._united([left, leaving]))

    def _united(self, parts: list[Edges]) -> Edges:
        """All edges of some tables."""
        empty: Edges = {name: np.zeros(0, np.uint64) for name in EDGE_COLUMNS}
        empty["histogram"] = np.zeros((0, LEVELS), np.uint32)
        return {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in edge_columns(self.job)}

    def store(self, block: Vector, computed: tuple[Columns, Columns]) -> Outcome:
        merges, residual = computed
        key = self.job.plan.identity(self.task.name, block)[0]
        first = self.residual.write(block, residual, key)
        second = self.merges.write(block, merges, key)
        voxels = self.job.plan.write_box(self.task.name, block).size
        return outcome_of_tables([(first, residual), (second, merges)], voxels)
