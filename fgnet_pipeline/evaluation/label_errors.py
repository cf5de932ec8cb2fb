"""The worst mergers and splits of a finished agglomeration against labels, at any threshold, with their places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.evaluation.comparison import line_up
from fgnet_pipeline.evaluation.computed import Computed
from fgnet_pipeline.evaluation.pair_places import PairPlaces
from fgnet_pipeline.evaluation.stored_tree import StoredTree
from fgnet_pipeline.evaluation.sweep import FragmentReader
from fgnet_pipeline.evaluation.worst_errors import LabelledError, worst_errors
from fgnet_pipeline.kernels.contingency import relabel
from fgnet_pipeline.kernels.relabel import places
from fgnet_pipeline.stages.job import Job

Ids = npt.NDArray[np.uint64]


def label_errors(job: Job, labels: str, threshold: float, limit: int = 10) -> list[LabelledError]:
    """Find the worst splits and mergers. Nothing is segmented again.

    Args:
        job: of a finished agglomeration.
        labels: path or URL of a Zarr array of ids (z, y, x); voxels with 0 are ignored.
        threshold: in [0, 1].
        limit: number of each at most.

    Returns:
        The splits, then the mergers; the worst of each kind first. Voxels without a segment are neither.

    Raises:
        InputError: labels that do not fit.
        DamageError: a table is missing or torn.
    """
    comparison = line_up(FragmentReader(job), job.frame, labels, None, None)
    workers = max(1, job.config.schedule.workers)
    comparison = replace(comparison, workers=workers, computed=Computed(job.roi, job.mask))
    places = PairPlaces()
    table, _ = comparison.counted(places)
    fragments = np.unique(np.append(np.uint64(0), table.segments))
    segments = np.append(np.uint64(0), StoredTree(job).segments(fragments[1:], threshold))
    reader = _SegmentReader(job, fragments, segments)
    found = replace(comparison, segmentation=reader), relabel(table, fragments, segments)
    return worst_errors(*found, places.relabelled(fragments, segments), job.frame, limit)


class _SegmentReader(FragmentReader):
    """The segments of a job as a plain array (z, y, x) uint64.

    Args:
        job: of a finished agglomeration.
        fragments: ids (n,), rising, with 0.
        segments: of the fragments (n,). Fragments that are not among them count as background: they hold no label.
    """

    def __init__(self, job: Job, fragments: Ids, segments: Ids) -> None:
        super().__init__(job)
        self._fragments, self._segments = fragments, segments

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Ids:
        ids = super().__getitem__(key)
        at, known = places(self._fragments, ids)
        return np.where(known, self._segments[at], np.uint64(0))
