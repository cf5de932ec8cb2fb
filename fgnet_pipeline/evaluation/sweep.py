"""Scores over agglomeration thresholds, from the stored merge tree: voxels are read once, whatever the thresholds.

1. Count the contingency table of *fragments* against labels, block by block.
2. For every threshold, cut the merge tree and replace the fragments in that table by their segments. The result is the
   contingency table of the segmentation at that threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.evaluation.comparison import line_up
from fgnet_pipeline.evaluation.computed import Computed
from fgnet_pipeline.evaluation.evaluate import scores_of
from fgnet_pipeline.evaluation.left_out import degenerate
from fgnet_pipeline.evaluation.stored_tree import StoredTree, open_agglomerated
from fgnet_pipeline.kernels import contingency
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut
from fgnet_pipeline.kernels.contingency import Contingency
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.store.arrays import readable

#: How many steps on each side of a threshold are looked at for `Sweep.robust`.
PLATEAU_STEPS = 2
#: A threshold belongs to the plateau if its voi_sum exceeds the best by no more than this share.
PLATEAU_SHARE = 0.05
MAXIMUM_THRESHOLDS = 10_000


@dataclass(frozen=True)
class Point:
    """The scores at one threshold.

    Attributes:
        threshold: on the score of merges (mean affinity or quantile), in [0, 1].
        voi_split: bits (log2).
        voi_merge: bits (log2).
        voi_sum: bits (log2).
        adapted_rand_error: in [0, 1].
    """

    threshold: float
    voi_split: float
    voi_merge: float
    voi_sum: float
    adapted_rand_error: float


@dataclass(frozen=True)
class Sweep:
    """Scores over thresholds.

    Attributes:
        curve: one point per threshold, by rising threshold.
        best: the point with the lowest voi_sum; among equals that with the lowest Rand error, then that with the
            highest threshold (fewer merges).
        robust: the point whose worst neighbour within `PLATEAU_STEPS` steps has the lowest voi_sum. With few labels,
            the best point can be close to thresholds at which most of another volume merges into one segment.
        plateau: first and last threshold of the run around `best` in which every voi_sum is at most
            `1 + PLATEAU_SHARE` times the best.
        segments: number of segments at each threshold, without the background, in the order of `curve`.
        voxels: number of voxels scored.
        left_out: labelled voxels that were not scored, because they were not computed.
        left_out_share: their share of all labelled voxels of the comparison, in [0, 1].
        left_out_because: reason -> number of labelled voxels.
        outside_segmentation: voxels of the labels that lie outside the volume.
        warnings: sentences about what the scores hide.
    """

    curve: list[Point]
    best: Point
    robust: Point
    plateau: tuple[float, float]
    segments: tuple[int, ...] = ()
    voxels: int = 0
    left_out: int = 0
    left_out_share: float = 0.0
    left_out_because: dict[str, int] = field(default_factory=dict)
    outside_segmentation: int = 0
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def sweep(
    config: Config, labels: str, thresholds: Sequence[float], begin: str | None = None, end: str | None = None
) -> tuple[Job, Sweep]:
    """Score a finished agglomeration against labels at several thresholds.

    Args:
        config: of the finished run.
        labels: path or URL of a Zarr array of ids (z, y, x); voxels with 0 are ignored.
        thresholds: each in [0, 1].
        begin: first voxel of the labels to score, as `"z,y,x"`; None is voxel 0.
        end: the voxel after the last, as `"z,y,x"`; None is the end of the labels.

    Returns:
        The job, and the scores that relabelling at each threshold and then `fgnet evaluate` would give.

    Raises:
        InputError: an unfinished agglomeration, labels that do not fit, a threshold outside [0, 1].
    """
    check_thresholds(thresholds)
    job = open_agglomerated(config)
    comparison = line_up(FragmentReader(job), job.frame, labels, begin, end)
    computed = Computed(job.roi, job.mask)
    table, left_out = replace(comparison, workers=max(1, config.schedule.workers), computed=computed).counted()
    if not len(table):
        value = labels + "".join(f"; {text}" for text in left_out.sentences(0))
        raise InputError("LABELS", value, "at least one voxel with a label", "choose a region that holds labels")
    stored = StoredTree(job)
    found = summarise(score_thresholds(stored, table, thresholds))
    segments = segment_counts(stored, table, [point.threshold for point in found.curve])
    return job, replace(
        found,
        segments=segments,
        voxels=table.voxels,
        **left_out.fields(table.voxels),
        warnings=(*left_out.sentences(table.voxels), *_degenerate(found, segments)),
    )


def _degenerate(found: Sweep, segments: Sequence[int]) -> Iterator[str]:
    """A warning if the best point or the robust point is no segmentation."""
    for name, point in (("best", found.best), ("robust", found.robust)):
        if warning := degenerate(segments[found.curve.index(point)]):
            yield f"{name} threshold {point.threshold:g}: {warning}"


def check_thresholds(thresholds: Sequence[float]) -> None:
    """Check that there are between one and `MAXIMUM_THRESHOLDS` numbers in [0, 1].

    Raises:
        InputError: there are not.
    """
    if not 1 <= len(thresholds) <= MAXIMUM_THRESHOLDS:
        raise InputError("--step", len(thresholds), f"1 to {MAXIMUM_THRESHOLDS} thresholds", "choose another step")
    for threshold in thresholds:
        if not 0 <= threshold <= 1:
            raise InputError("--threshold", threshold, "an affinity in [0, 1]", "change it")


def steps(first: float, last: float, step: float) -> list[float]:
    """The thresholds first, first + step, ... up to last, without the rounding errors of binary fractions.

    Raises:
        InputError: a step that is not above 0 or gives too many thresholds, or last before first.
    """
    if not (np.isfinite([first, last, step]).all() and step > 0 and first <= last):
        raise InputError(
            "--from, --to, --step", f"{first}, {last}, {step}", "from <= to and a step above 0", "change them"
        )
    low, high, width = (Decimal(str(value)) for value in (first, last, step))
    count = int((high - low) / width) + 1
    if count > MAXIMUM_THRESHOLDS:
        raise InputError("--step", step, f"at most {MAXIMUM_THRESHOLDS} thresholds", "choose a larger step")
    return [float(low + i * width) for i in range(count)]


def score_thresholds(stored: StoredTree, table: Contingency, thresholds: Sequence[float]) -> list[Point]:
    """One point per distinct threshold, by rising threshold.

    Args:
        stored: the merge tree; the nodes that the fragments need are read.
        table: contingency of fragments against labels.
        thresholds: each in [0, 1].
    """
    fragments = np.unique(table.segments)
    fragments = fragments[fragments > 0]
    stored.include(fragments)
    names, merges = stored.names(fragments), stored.merges
    points = []
    for threshold in sorted(set(thresholds)):
        scores = scores_of(contingency.relabel(table, names, lut(names, merges, threshold)))
        points.append(
            Point(
                float(threshold),
                scores.voi_split,
                scores.voi_merge,
                scores.voi_sum,
                scores.adapted_rand_error,
            )
        )
    return points


def segment_counts(stored: StoredTree, table: Contingency, thresholds: Sequence[float]) -> tuple[int, ...]:
    """The number of segments that the fragments of a table form at each threshold.

    Args:
        stored: the merge tree, with the nodes that the fragments need.
        table: contingency of fragments against labels.
        thresholds: each in [0, 1].
    """
    fragments = np.unique(table.segments)
    fragments = fragments[fragments > 0]
    names, merges = stored.names(fragments), stored.merges
    places = np.searchsorted(names, fragments)
    return tuple(len(np.unique(lut(names, merges, threshold)[places])) for threshold in thresholds)


def summarise(curve: list[Point]) -> Sweep:
    """Find the best point, the robust point and the plateau of a curve of at least one point."""
    sums = np.array([point.voi_sum for point in curve])
    best = min(range(len(curve)), key=lambda i: (curve[i].voi_sum, curve[i].adapted_rand_error, -curve[i].threshold))
    worst = [sums[max(0, i - PLATEAU_STEPS) : i + PLATEAU_STEPS + 1].max() for i in range(len(curve))]
    good = sums <= (1 + PLATEAU_SHARE) * sums[best]
    low = best - int(np.argmin(np.append(good[: best + 1][::-1], False))) + 1
    high = best + int(np.argmin(np.append(good[best:], False))) - 1
    return Sweep(curve, curve[best], curve[int(np.argmin(worst))], (curve[low].threshold, curve[high].threshold))


class FragmentReader:
    """The fragments of a job as a plain array (z, y, x) uint64.

    They are 0 outside the region of interest and the mask, as the segmentation is.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.shape, self.dtype = job.bounds.shape, np.dtype(np.uint64)
        self.chunks = job.config.schedule.block_shape_of("fragments")
        self._path = job.config.fragments.path or f"{job.output.path}/fragments"

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[np.uint64]:
        box = Box(vector([s.start for s in key]), vector([s.stop for s in key]))
        result = np.zeros(box.shape, np.uint64)
        inside = box.intersect(self._job.roi)
        if inside:
            with readable(self._path, "fragments"):
                fragments = self._job.read_fragments(inside)
            if self._job.mask is not None:
                fragments = np.where(self._job.mask.read(inside), fragments, np.uint64(0))
            result[inside.slices(box.begin)] = fragments
        return result
