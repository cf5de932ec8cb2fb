"""The edges of the region adjacency graph (RAG) of the whole region, or of a part if there are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.kernels.agglomeration.histograms import values_of
from fgnet_pipeline.kernels.region_graph import sum_parallel_edges
from fgnet_pipeline.stages.checked_tables import edge_columns, key_of
from fgnet_pipeline.stages.configuration import score_of, score_part
from fgnet_pipeline.stages.job import Job

Ids = npt.NDArray[np.uint64]
#: Tables and rows of them that are read at most; with histograms, a row takes 1 KiB.
TABLES, ROWS, ROWS_WITH_HISTOGRAMS = 20_000, 5_000_000, 500_000


@dataclass(frozen=True)
class RegionEdges:
    """Edges with unique pairs, sorted by (u, v).

    Attributes:
        u: uint64 (m,), smaller fragment.
        v: uint64 (m,), larger fragment.
        sum: uint64 (m,), affinities 0..255 added up.
        scored: uint64 (m,), score * 255 * count; the same as `sum` if the score is the mean.
        count: uint64 (m,), faces.
        position: int64 (m, 3), positions of the faces in voxels, zyx, added up.
        histogram: unsigned (m, 256), how often each affinity occurs; None if the score does not need it.
        box: voxels in which edges were read; None: the whole region.
    """

    u: Ids
    v: Ids
    sum: Ids
    scored: Ids
    count: Ids
    position: npt.NDArray[Any]
    histogram: npt.NDArray[Any] | None
    box: Box | None


def region_edges(job: Job, around: Box) -> RegionEdges | None:
    """Read the edges of the whole region, or if there are too many those around a box.

    Contacts below `agglomerate.min_contact` are left out, since agglomeration ignores them.

    Args:
        job: of a finished agglomeration.
        around: voxels; edges of all blocks that touch this box, and of their neighbours, are read.

    Returns:
        None if even these are too many.

    Raises:
        DamageError: a table is missing or torn.
    """
    grid = job.plan.tasks["edges"].grid
    everything, some = grid.covering(job.roi), grid.covering(around.intersect(job.roi))
    near = some.grow((1, 1, 1), (1, 1, 1)).intersect(everything)
    for blocks in (everything, near):
        if _is_few(job, blocks):
            box = None if blocks == everything else Box(grid.box(blocks.begin).begin, _end(job, blocks))
            return _read(job, blocks, box)
    return None


def _end(job: Job, blocks: Box) -> tuple[int, int, int]:
    z, y, x = (end * length for end, length in zip(blocks.end, job.plan.tasks["edges"].grid.block_shape, strict=True))
    return z, y, x


def _is_few(job: Job, blocks: Box) -> bool:
    """Whether the tables of an index box of blocks can be read at once."""
    if blocks.size > TABLES:
        return False
    allowed = ROWS_WITH_HISTOGRAMS if score_of(job.config).needs_histogram else ROWS
    tables, rows = job.output.tables("edges", "edges"), 0
    for block in job.plan.active_blocks("edges", blocks):
        rows += tables.rows(block)
        if rows > allowed:
            return False
    return True


def _read(job: Job, blocks: Box, box: Box | None) -> RegionEdges:
    names, tables = [*edge_columns(job), "position"], job.output.tables("edges", "edges")
    parts = [tables.read(b, names, key_of(job, "edges", b)) for b in job.plan.active_blocks("edges", blocks)]
    empty: dict[str, npt.NDArray[Any]] = {name: np.zeros(0, np.uint64) for name in names}
    empty |= {"position": np.zeros((0, 3))} | ({"histogram": np.zeros((0, 256), np.uint32)} if len(names) > 5 else {})
    columns = {name: np.concatenate([part[name] for part in parts] or [empty[name]]) for name in names}
    for name in ("u", "v", "sum", "count"):
        columns[name] = columns[name].astype(np.uint64)
    if "histogram" in columns:
        columns["histogram"] = columns["histogram"].astype(np.uint64)
    merged = dict(zip(names, sum_parallel_edges(*(columns[name] for name in names)), strict=True))
    keep = merged["count"] >= np.uint64(job.config.agglomerate.min_contact)
    merged = {name: values[keep] for name, values in merged.items()}
    return RegionEdges(merged["u"], merged["v"], merged["sum"], _scored(job, merged), merged["count"],
                       merged["position"], merged.get("histogram"), box)  # fmt: skip


def _scored(job: Job, edges: dict[str, npt.NDArray[Any]]) -> Ids:
    score, part = score_of(job.config), score_part(job.config)
    if not score.needs_histogram:
        return edges["sum"]
    counts = edges["count"].astype(np.int64)
    return (values_of(edges["histogram"], counts, score.compiled, part or (0, 1)) * counts).astype(np.uint64)
