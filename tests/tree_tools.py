"""Merge trees of whole volumes: as stored by all nodes, and as made by one agglomeration without stages or tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pipeline_tools import state_of

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.execution.block_runner import BlockRunner
from fgnet_pipeline.execution.resume import left, prepare
from fgnet_pipeline.execution.run import open_planned
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, lut, sort_merges
from fgnet_pipeline.kernels.agglomeration.scores.quantile import SCORE as BY_QUANTILE
from fgnet_pipeline.kernels.region_graph import EdgeTable, block_edges
from fgnet_pipeline.stages.registry import attach_known_keys, stages_after
from fgnet_pipeline.store.tables import Tables


def stored_tree(out: Path) -> Merges:
    """The merges of all nodes of all levels, sorted."""
    parts = []
    for path in sorted((state_of(out) / "tables").glob("merges-*/*/*/*.parquet")):
        z, y, x = (int(part) for part in path.relative_to(state_of(out) / "tables").with_suffix("").parts[1:])
        table = Tables(state_of(out) / "tables", path.parts[-4], "").read((z, y, x))
        parts.append([table[name] for name in Merges._fields])
    return sort_merges(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def global_table(affinities: npt.NDArray[Any], fragments: npt.NDArray[Any]) -> EdgeTable:
    """All edges of a volume, with histograms, from uint8 (3, z, y, x) and uint64 (z, y, x)."""
    return block_edges(affinities, fragments, tuple(slice(0, n) for n in fragments.shape), histogram=True)


def global_tree(
    affinities: npt.NDArray[Any], fragments: npt.NDArray[Any], least: int = 1, quantile: tuple[int, int] | None = None
) -> Merges:
    """The tree of one agglomeration of a whole volume.

    Args:
        affinities: uint8 (3, z, y, x).
        fragments: uint64 (z, y, x).
        least: edges of fewer faces are left out.
        quantile: numerator and denominator; None for the mean.
    """
    table = global_table(affinities, fragments)
    keep = table.count >= least
    columns = [column[keep] for column in (table.u, table.v, table.sum, table.count)]
    if quantile is None:
        return agglomerate(*columns).merges
    assert table.histogram is not None
    return agglomerate(*columns, histogram=table.histogram[keep], score=BY_QUANTILE, part=quantile).merges


def segmented(fragments: npt.NDArray[Any], tree: Merges, threshold: float) -> npt.NDArray[Any]:
    """The segmentation that a tree makes of fragments, uint64 (z, y, x)."""
    ids, position = np.unique(fragments, return_inverse=True)
    return lut(ids, tree, threshold)[position].reshape(fragments.shape)


def assert_same_tree(one: Merges, other: Merges) -> None:
    """Two trees have the same rows in the same order."""
    for name, first, second in zip(Merges._fields, one, other, strict=True):
        assert np.array_equal(first, second), name


def run_in_random_order(config: Config, rng: np.random.Generator) -> None:
    """Level by level as a worker does, blocks of a level in random order, some of them twice."""
    job = open_planned(config, stages_after("predict"))
    job.output.create()
    prepare(job, list(job.plan.tasks), None)
    attach_known_keys(job)
    number = job.output.progress.set_driver()
    for name in job.plan.tasks:
        blocks = job.plan.active_blocks(name, job.plan.blocks(name))
        with BlockRunner(job, name, number) as runner:
            for i in [*rng.permutation(len(blocks)), *rng.integers(0, len(blocks), 2)]:
                assert runner.run(blocks[i])
    again = open_planned(config, stages_after("predict"))
    assert not any(left(again, name).todo.any() for name in again.plan.tasks), "workers and driver agree on every key"
