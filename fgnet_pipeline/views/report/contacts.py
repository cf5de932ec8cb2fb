"""Contacts between clusters, summed over the edge tables of a sample, one table after the other.

Two kinds of contact are looked for: that of the two clusters of a chosen merge, and those between two segments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import indices
from fgnet_pipeline.kernels.agglomeration.growth import joining_rows
from fgnet_pipeline.stages.configuration import score_of, score_part
from fgnet_pipeline.views.report.result import Result
from fgnet_pipeline.views.report.sample import Counts, Ids, Sample

#: Segments between which contacts are counted: the largest, so that memory is bounded. With histograms there are fewer.
SEGMENTS, SEGMENTS_WITH_HISTOGRAMS = 50_000, 5_000
#: Sums of pairs that wait before they are added up.
_WAITING = 1 << 20
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Contacts:
    """Contacts between pairs of clusters.

    Attributes:
        one: uint64 (n,), smaller id.
        other: uint64 (n,), larger id.
        count: int64 (n,), faces.
        score: float64 (n,), in [0, 1].
        position: float64 (n, 3), centre of all faces in voxels, zyx.
    """

    one: Ids
    other: Ids
    count: Counts
    score: npt.NDArray[np.float64]
    position: npt.NDArray[np.float64]


def edge_tables(result: Result, sample: Sample) -> Iterator[Columns]:
    """The edges of the sample, table by table: u, v, sum, count, position, and histogram if the score needs it."""
    state = result.tasks.get("edges")
    if state is None:
        return
    names = ["u", "v", "sum", "count", "position"]
    names += ["histogram"] if score_of(result.config).needs_histogram else []
    for block in indices(state.grid.covering(sample.voxel_box)):
        columns = result.table("edges", "edges", block, names)
        if columns is not None and len(columns["u"]):
            columns = {name: values.astype(np.uint64) if name in ("u", "v") else values
                       for name, values in columns.items()}  # fmt: skip
            known = np.isin(columns["u"], sample.names) & np.isin(columns["v"], sample.names)
            yield {name: values[known] for name, values in columns.items()}


class ContactsOfMerges:
    """The contacts of some merges: all edges that join their ends by this merge.

    Args:
        sample: of the result.
        rows: places in `sample.merges`, rising.
    """

    def __init__(self, sample: Sample, rows: npt.NDArray[np.int64]) -> None:
        self._sample, self._rows = sample, rows
        self._count, self._position = np.zeros(len(rows), np.int64), np.zeros((len(rows), 3))

    def add(self, edges: Columns) -> None:
        """Add up the edges of a table."""
        if not len(self._rows):
            return
        row = joining_rows(self._sample.names, self._sample.merges, edges["u"], edges["v"])
        at = np.minimum(np.searchsorted(self._rows, row), len(self._rows) - 1)
        mine = self._rows[at] == row
        np.add.at(self._count, at[mine], edges["count"][mine].astype(np.int64))
        np.add.at(self._position, at[mine], edges["position"][mine])

    def positions(self) -> npt.NDArray[np.float64]:
        """Centre of each contact in voxels, float64 (n, 3), zyx; NaN if no edge of it was in the tables."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self._position / np.where(self._count > 0, self._count, np.nan)[:, None])


class ContactsOfSegments:
    """The contacts between large segments.

    `agglomerate.min_contact` is honoured as agglomeration does it: contacts of two fragments that are smaller are left
    out, so fragments are kept apart until the end.

    Args:
        result: the result.
        sample: of it.
    """

    def __init__(self, result: Result, sample: Sample) -> None:
        self._score, self._part = score_of(result.config), score_part(result.config)
        self._sample, self._least = sample, result.config.agglomerate.min_contact
        most = SEGMENTS_WITH_HISTOGRAMS if self._score.needs_histogram else SEGMENTS
        ids, voxels = sample.segment_sizes
        self._large = np.sort(ids[np.lexsort((ids, -voxels))[:most]])
        self._waiting: list[Columns] = []

    def add(self, edges: Columns) -> None:
        """Add up the edges of a table."""
        ends = [self._sample.segment_of(edges[name]) for name in ("u", "v")]
        keep = (ends[0] != ends[1]) & np.isin(ends[0], self._large) & np.isin(ends[1], self._large)
        part = {name: values[keep] for name, values in edges.items()}
        if self._least == 1:
            part["u"], part["v"] = np.minimum(*ends)[keep], np.maximum(*ends)[keep]
        self._waiting.append(part)
        if sum(len(part["u"]) for part in self._waiting) > _WAITING:
            self._waiting = [_summed(self._waiting)]

    def contacts(self) -> Contacts:
        """All contacts, by pair."""
        if not self._waiting:
            return Contacts(*(np.zeros(0, np.uint64),) * 2, np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3)))
        found = _summed(self._waiting)
        if self._least > 1:
            keep = found["count"] >= self._least
            found = {name: values[keep] for name, values in found.items()}
            ends = [self._sample.segment_of(found[name]) for name in ("u", "v")]
            found = _summed([found | {"u": np.minimum(*ends), "v": np.maximum(*ends)}])
        count = found["count"].astype(np.int64)
        bins = found.get("histogram", [None] * len(count))
        score = [self._score.edge_value(int(s), int(n), h, self._part)
                 for s, n, h in zip(found["sum"], count, bins, strict=True)]  # fmt: skip
        return Contacts(found["u"], found["v"], count, np.array(score, np.float64), found["position"] / count[:, None])


def _summed(parts: list[Columns]) -> Columns:
    """Rows of several tables, added up per pair."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((columns["v"], columns["u"]))
    columns = {name: values[order] for name, values in columns.items()}
    u, v = columns["u"], columns["v"]
    first = np.ones(len(u), bool)
    first[1:] = (u[1:] != u[:-1]) | (v[1:] != v[:-1])
    starts = np.flatnonzero(first)
    if not len(starts):
        return columns
    summed = {name: np.add.reduceat(values.astype(np.float64 if name == "position" else np.int64), starts, axis=0)
              for name, values in columns.items() if name not in ("u", "v")}  # fmt: skip
    return {"u": u[starts], "v": v[starts], **summed}
