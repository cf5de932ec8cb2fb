"""All segments of a result with size, fragments, bounding box and a voxel inside, from tables alone.

One leaf of the octree is read after the other. Memory grows with the number of segments: about 300 bytes per segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.csv_text import csv_text
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.evaluation.stored_tree import open_finished
from fgnet_pipeline.kernels.segment_rows import Rows, by_segment, concatenated, of_fragments, united
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.segments_of_fragments import fragments_of_leaf

COLUMNS = ["id", "voxels", "begin", "end", "point"]
#: Rows of segments that are put together before they are summed up.
PENDING = 1_000_000
#: Columns of the CSV file.
CSV_COLUMNS = (
    "segment", "voxels", "um3", "fragments", "begin_z", "begin_y", "begin_x", "end_z", "end_y", "end_x", "z", "y", "x",
)  # fmt: skip


@dataclass(frozen=True)
class Segments:
    """Segments, largest first; of equal ones the smaller id comes first.

    Attributes:
        threshold: of the agglomeration, in [0, 1].
        voxel_size: nm, zyx.
        count: number of all segments.
        voxels: of all segments together.
        rows: columns of the chosen ones: `segment` uint64 (n,); `voxels`, `fragments` int64 (n,); `begin`, `end`
            int64 (n, 3), the bounding box in voxels, zyx; `point` int64 (n, 3), a voxel inside, zyx.
    """

    threshold: float
    voxel_size: tuple[float, float, float]
    count: int
    voxels: int
    rows: Rows

    def __len__(self) -> int:
        """Number of chosen segments."""
        return len(self.rows["segment"])

    def cubic_micrometres(self, voxels: int) -> float:
        """The volume of some voxels."""
        return float(voxels) * prod(self.voxel_size) / 1e9

    def listed(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The chosen segments one by one, as plain values.

        Args:
            limit: how many at most; None: all.
        """
        for i in range(len(self) if limit is None else min(limit, len(self))):
            voxels = int(self.rows["voxels"][i])
            yield {
                "segment": int(self.rows["segment"][i]),
                "voxels": voxels,
                "um3": self.cubic_micrometres(voxels),
                "fragments": int(self.rows["fragments"][i]),
                "begin": self.rows["begin"][i].tolist(),
                "end": self.rows["end"][i].tolist(),
                "point": self.rows["point"][i].tolist(),
            }

    def csv_text(self, limit: int | None = None) -> str:
        """The chosen segments as CSV. Ids are text, since many programs round numbers above 2^53."""
        listed = self.listed(limit)
        plain = ("voxels", "um3", "fragments")
        rows = ([str(s["segment"]), *(s[n] for n in plain), *s["begin"], *s["end"], *s["point"]] for s in listed)
        return csv_text(CSV_COLUMNS, rows)


def list_segments(config: Config, least: int = 1) -> Segments:
    """List the segments of a finished LUT.

    Args:
        config: of the run.
        least: voxels; smaller segments are counted, but not listed.

    Raises:
        InputError: fragments or LUT are not finished, or belong to another configuration.
        DamageError: a table is missing or torn.
    """
    job = open_finished(config, ("fragments", "lut"), f"LUT at threshold {config.agglomerate.threshold:g}")
    rows = _rows(job)
    count, voxels = len(rows["segment"]), int(rows["voxels"].sum())
    chosen = np.flatnonzero(rows["voxels"] >= least)
    order = chosen[np.lexsort((rows["segment"][chosen], -rows["voxels"][chosen]))]
    listed = {name: values[order] for name, values in rows.items()}
    return Segments(job.config.agglomerate.threshold, job.frame.voxel_size, count, voxels, listed)


def _rows(job: Job) -> Rows:
    """One row per segment, sorted by segment."""
    done, pending, waiting = _nothing(), list[Rows](), 0
    for leaf in job.plan.active_blocks("lut-0", octree_of(job).grid(0).covering(job.roi)):
        rows = _of_leaf(job, leaf)
        pending, waiting = [*pending, rows], waiting + len(rows["segment"])
        if waiting > PENDING:
            done, pending, waiting = by_segment(concatenated([done, *pending])), [], 0
    return by_segment(concatenated([done, *pending]))


def _of_leaf(job: Job, leaf: Vector) -> Rows:
    parts = [_nothing()]
    for segments, rows in fragments_of_leaf(job, leaf, COLUMNS):
        parts.append(of_fragments(segments, {name: rows[name] for name in COLUMNS}))
    rows = concatenated(parts)
    if job.fragments is not None:  # one leaf holds all blocks, and a fragment may have rows in several of them
        _, first = np.unique(rows["id"], return_index=True)
        whole = united({name: rows[name] for name in COLUMNS})
        rows = of_fragments(rows["segment"][first].astype(np.uint64), whole)
    return by_segment(rows)


def _nothing() -> Rows:
    ids, numbers, places = np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
    return of_fragments(ids, {"id": ids, "voxels": numbers, "begin": places, "end": places, "point": places})
