"""Scores of a segmentation against labels, block by block, so that neither array has to fit in memory.

Both arrays lie in one voxel grid (zyx), each at its own offset in voxels, and are scored where they overlap.
The memory needed is one block of each array per worker, and the sparse contingency table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, vector, whole
from fgnet_pipeline.evaluation.blockwise import ArrayLike, default_block, lattice, moved, summed
from fgnet_pipeline.evaluation.computed import Computed
from fgnet_pipeline.evaluation.left_out import LeftOut, degenerate, segments_in
from fgnet_pipeline.evaluation.pair_places import PairPlaces
from fgnet_pipeline.evaluation.protocols import FGNET, EvaluationProtocol
from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency
from fgnet_pipeline.kernels.labels import known_labels


@dataclass(frozen=True)
class Scores:
    """The scores of one comparison; lower is better.

    Attributes:
        voi_split: H(segment | label) in bits: what splitting objects costs.
        voi_merge: H(label | segment) in bits: what joining objects costs.
        voi_sum: voi_split + voi_merge.
        adapted_rand_error: in [0, 1].
        cremi_score: sqrt(voi_sum * adapted_rand_error), the ranking score of the CREMI challenge.
        voxels: number of voxels scored (label not 0, and not ignored by the protocol).
        protocol: name of the rules, see `fgnet_pipeline.evaluation.protocols`.
        segments: number of segments in the voxels scored, without the background.
        left_out: labelled voxels that were not scored, because the segmentation was not computed there.
        left_out_share: their share of all labelled voxels of the comparison, in [0, 1].
        left_out_because: reason -> number of labelled voxels.
        outside_segmentation: voxels of the labels that lie outside the array of the segmentation.
        warnings: sentences about what the scores hide.
    """

    voi_split: float
    voi_merge: float
    voi_sum: float
    adapted_rand_error: float
    cremi_score: float
    voxels: int
    protocol: str = FGNET.name
    segments: int = 0
    left_out: int = 0
    left_out_share: float = 0.0
    left_out_because: dict[str, int] = field(default_factory=dict)
    outside_segmentation: int = 0
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the floats round-trip."""
        return asdict(self)


def scores_of(table: Contingency, protocol: EvaluationProtocol = FGNET, left_out: LeftOut | None = None) -> Scores:
    """The scores of a contingency table. A table without voxels scores 0 everywhere.

    Args:
        table: segments against labels.
        protocol: the rules.
        left_out: what the table does not count.
    """
    split, merged = kernel.conditional_entropies(table)
    rand = protocol.rand_error(table)
    total, segments, missing = split + merged, segments_in(table), left_out or LeftOut()
    warning = degenerate(segments)
    return Scores(
        split,
        merged,
        total,
        rand,
        math.sqrt(total * rand),
        table.voxels,
        protocol.name,
        segments,
        **missing.fields(table.voxels),
        warnings=[*missing.sentences(table.voxels), *([warning] if warning else [])],
    )


@dataclass(frozen=True)
class Comparison:
    """Two (z, y, x) integer arrays in one voxel grid, which part of them is compared, and how.

    Attributes:
        segmentation: ids, 0 = background; may be fragments as well.
        labels: ids of the ground truth; voxels with 0 are ignored.
        segmentation_offset: voxel of the common grid, zyx, at which the segmentation begins.
        labels_offset: the same for the labels.
        segmentation_voxel_size: nm, zyx; compared with that of the labels if both are given.
        labels_voxel_size: nm, zyx; needed by a protocol that ignores a border.
        region: box in voxels of the labels array; None is all of it.
        block: shape in voxels, zyx, read at a time; None chooses one from the chunks of the segmentation.
        workers: number of threads.
        protocol: what is ignored, and how the Rand error is computed.
        computed: which voxels of the segmentation were computed; None if all of them were. The others are left out.
    """

    segmentation: ArrayLike
    labels: ArrayLike
    segmentation_offset: Sequence[int] = (0, 0, 0)
    labels_offset: Sequence[int] = (0, 0, 0)
    segmentation_voxel_size: Sequence[float] | None = None
    labels_voxel_size: Sequence[float] | None = None
    region: Box | None = None
    block: Sequence[int] | None = None
    workers: int = 1
    protocol: EvaluationProtocol = FGNET
    computed: Computed | None = None

    def scores(self) -> Scores:
        """Score the segmentation where it overlaps the labels.

        Raises:
            InputError: the arrays cannot be compared (see `contingency`), or no voxel has a label.
        """
        return self.scores_of(*self.counted())

    def scores_of(self, table: Contingency, left_out: LeftOut) -> Scores:
        """The scores of what was counted.

        Raises:
            InputError: no voxel has a label.
        """
        if not len(table):
            raise InputError(
                "labels",
                "0 in every voxel compared" + "".join(f"; {text}" for text in left_out.sentences(0)),
                "at least one voxel with a label",
                "choose a region that holds labels or a protocol without an ignored border",
            )
        return scores_of(table, self.protocol, left_out)

    def contingency(self) -> Contingency:
        """The contingency table over the overlap; it does not depend on `block` and `workers`.

        Raises:
            InputError: dimensions, dtype, voxel sizes, region, block or workers do not fit, or nothing overlaps.
        """
        return self.counted()[0]

    def counted(self, places: PairPlaces | None = None) -> tuple[Contingency, LeftOut]:
        """The contingency table, and what was left out of it. See `contingency` for the errors.

        Args:
            places: notes where the pairs of the table lie.
        """
        self._check()
        region = _checked_region(self.region, whole(vector(self.labels.shape)))
        overlap = self.overlap()
        left_out = LeftOut(region.size - overlap.size)

        def count(box: Box) -> Contingency:
            table = kernel.contingency(*self.voxels(box, left_out))
            if places is not None:
                places.add(box, table)
            return table

        return summed(count, self.blocks(), self.workers), left_out

    def _check(self) -> None:
        _check_array("segmentation", self.segmentation)
        _check_array("labels", self.labels)
        _check_voxel_sizes(self.segmentation_voxel_size, self.labels_voxel_size)
        _check_at_least_one("workers", [self.workers])
        if self.protocol.needs_voxel_size and self.labels_voxel_size is None:
            remedy = "give the array a voxel_size, or take the protocol fgnet"
            raise InputError("labels_voxel_size", None, "nm along each axis, to measure the ignored border", remedy)

    def blocks(self) -> Iterator[Box]:
        """The blocks that are read, in voxels of the common grid."""
        shape = self.block if self.block is not None else default_block(self.segmentation)
        _check_at_least_one("block", shape, dims=3)
        return lattice(self.overlap(), vector(shape), self.segmentation_offset)

    def overlap(self) -> Box:
        """The part of `region` that the segmentation covers, in voxels of the common grid."""
        wanted = moved(_checked_region(self.region, whole(vector(self.labels.shape))), self.labels_offset)
        held = _placed(self.segmentation, self.segmentation_offset)
        box = wanted.intersect(held)
        if not box:
            raise InputError(
                "segmentation",
                f"voxels {held.to_list()}",
                f"an overlap with the labels at voxels {wanted.to_list()}",
                "check offset and voxel size of both arrays",
            )
        return box

    def voxels(
        self, box: Box, left_out: LeftOut | None = None
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Segments and labels (z, y, x) of a box in voxels of the common grid; a label of 0 does not count.

        Args:
            box: inside the overlap.
            left_out: counts labelled voxels that were not computed.
        """
        segments = np.asarray(self.segmentation[box.slices(vector(self.segmentation_offset))])
        if segments.dtype.kind == "i":
            segments = np.maximum(segments, 0)  # -1 is background, too
        labels = self._labels_within(box)
        reasons = None
        if self.computed is not None:
            reasons = self.computed.reasons(moved(box, np.negative(self.segmentation_offset)))
        if reasons is not None:
            if left_out is not None:
                left_out.count(reasons, labels > 0)
            labels = np.where(reasons > 0, np.uint64(0), labels)
        return segments.astype(np.uint64, copy=False), labels

    def _labels_within(self, box: Box) -> npt.NDArray[np.uint64]:
        """Labels of a box, 0 if a voxel has none or the protocol ignores it."""
        context = self.protocol.context(self.labels_voxel_size)
        read = box.grow(context, context).intersect(_placed(self.labels, self.labels_offset))
        labels = np.asarray(self.labels[read.slices(vector(self.labels_offset))])
        inside = box.slices(read.begin)
        ignored = self.protocol.ignored(labels, self.labels_voxel_size)
        known = known_labels(labels[inside], "labels")
        return known if ignored is None else np.where(ignored[inside], np.uint64(0), known)


def _placed(array: ArrayLike, offset: Sequence[int]) -> Box:
    """The box that an array takes in the common grid."""
    return moved(whole(vector(array.shape)), offset)


def _check_array(name: str, array: ArrayLike) -> None:
    if len(array.shape) != 3:
        raise InputError(name, f"{len(array.shape)} dimensions", "3 (z, y, x)", "name an array of ids")
    if np.dtype(array.dtype).kind not in "ui":
        raise InputError(name, f"dtype {array.dtype}", "an integer dtype", "name an array of ids")


def _check_voxel_sizes(segmentation: Sequence[float] | None, labels: Sequence[float] | None) -> None:
    if segmentation is None or labels is None:
        return
    if len(segmentation) != len(labels) or not np.allclose(segmentation, labels, rtol=1e-6, atol=0):
        raise InputError(
            "labels",
            f"voxel size {tuple(labels)} nm",
            f"{tuple(segmentation)} nm, that of the segmentation",
            "compare arrays of one resolution",
        )


def _check_at_least_one(name: str, values: Sequence[int], dims: int = 1) -> None:
    if len(values) != dims or any(int(v) != v or v < 1 for v in values):
        got = values[0] if dims == 1 and len(values) == 1 else tuple(values)
        expected = "whole numbers of at least 1 for z, y and x" if dims == 3 else "a whole number of at least 1"
        raise InputError(name, got, expected, "change it")


def _checked_region(region: Box | None, everything: Box) -> Box:
    """The region, or the whole labels array."""
    if region is None:
        return everything
    if len(region.begin) != 3 or not region or not everything.contains(region):
        expected = f"begin < end within {everything.to_list()}"
        raise InputError("region", region.to_list(), expected, "give voxels of the labels, z, y and x")
    return region
