"""The largest mergers and splits of a finished agglomeration against labels, with a position for each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.evaluation.comparison import line_up
from fgnet_pipeline.evaluation.computed import Computed
from fgnet_pipeline.evaluation.segment_tables import fragment_rows
from fgnet_pipeline.evaluation.stored_tree import StoredTree
from fgnet_pipeline.evaluation.sweep import FragmentReader
from fgnet_pipeline.stages.job import Job

Ids = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]
#: (whole, its largest part, a further part, voxels of the further part).
_Row = tuple[int, int, int, int]


@dataclass(frozen=True)
class LabelError:
    """Two labels that one segment joins, or two segments that share one label.

    Attributes:
        whole: of a merger the segment, of a split the label.
        one: the largest part: of a merger a label, of a split a segment.
        other: a further part.
        voxels: of the further part.
        position: a voxel in the largest fragment of the further part, zyx; None if no table has this fragment.
    """

    whole: int
    one: int
    other: int
    voxels: int
    position: Vector | None


def label_errors(job: Job, labels: str, threshold: float, limit: int = 10) -> tuple[list[LabelError], list[LabelError]]:
    """Find the largest mergers and splits.

    Args:
        job: of a finished agglomeration.
        labels: path or URL of a Zarr array of ids (z, y, x); voxels with 0 are ignored.
        threshold: in [0, 1].
        limit: number of each at most.

    Returns:
        (mergers, splits), largest first. Voxels without a segment are neither.

    Raises:
        InputError: labels that do not fit.
        DamageError: a table is missing or torn.
    """
    comparison = line_up(FragmentReader(job), job.frame, labels, None, None)
    workers = max(1, job.config.schedule.workers)
    table, _ = replace(comparison, workers=workers, computed=Computed(job.roi, job.mask)).counted()
    inside = table.segments > 0
    fragments, label, voxels = table.segments[inside], table.labels[inside], table.counts[inside]
    stored = StoredTree(job)
    segment = stored.segments(fragments, threshold)
    found = []
    for whole, part in ((segment, label), (label, segment)):
        rows = _further_parts(whole, part, voxels, limit)
        named = [int(fragments[_largest(whole, part, voxels, row)]) for row in rows]
        found.append([LabelError(*row, at) for row, at in zip(rows, _points(job, stored, named), strict=True)])
    return found[0], found[1]


def _points(job: Job, stored: StoredTree, named: list[int]) -> list[Vector | None]:
    """A voxel of each of some fragments."""
    if not named:
        return []
    rows = fragment_rows(job, stored.tree, np.unique(np.array(named, np.uint64)))
    place = {int(i): vector(point) for i, point in zip(rows["id"], rows["point"], strict=True)}
    return [place.get(name) for name in named]


def _further_parts(whole: Ids, part: Ids, voxels: Counts, limit: int) -> list[_Row]:
    """All parts but the largest of each whole, largest first."""
    if not len(whole):
        return []
    pairs, which = np.unique(np.stack([whole, part], 1), axis=0, return_inverse=True)
    sums = np.zeros(len(pairs), np.int64)
    np.add.at(sums, which.reshape(-1), voxels)
    order = np.lexsort((pairs[:, 1], -sums, pairs[:, 0]))
    pairs, sums = pairs[order], sums[order]
    is_first = np.ones(len(pairs), bool)
    is_first[1:] = pairs[1:, 0] != pairs[:-1, 0]
    main = pairs[np.maximum.accumulate(np.where(is_first, np.arange(len(pairs)), 0)), 1]
    further = np.flatnonzero(~is_first)
    chosen = further[np.argsort(-sums[further], kind="stable")][:limit]
    return [(int(pairs[i, 0]), int(main[i]), int(pairs[i, 1]), int(sums[i])) for i in chosen]


def _largest(whole: Ids, part: Ids, voxels: Counts, row: _Row) -> int:
    """The place, in a table, of the fragment that has the most voxels of a further part."""
    mine = np.flatnonzero((whole == np.uint64(row[0])) & (part == np.uint64(row[2])))
    return int(mine[np.argmax(voxels[mine])])
