"""Scores of a model in training: a held-out box is predicted, segmented and compared with its labels.

A loss says little about a segmentation: one missing membrane joins two neurons and costs a few voxels of loss. So the
averaged weights are scored by VOI and adapted Rand error over a range of agglomeration thresholds, and judged on the
plateau of that curve, not on its lowest point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from fgnet import Geometry
from numpy.typing import NDArray

from fgnet_pipeline.core.geometry import vector, whole
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut, sort_merges
from fgnet_pipeline.kernels.contingency import adapted_rand_error, conditional_entropies, contingency
from fgnet_pipeline.kernels.fragments.method import segment_fragments
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.kernels.tiling import Tiling, to_uint8

if TYPE_CHECKING:
    from fgnet_pipeline.training.volumes import LabelledBox

THRESHOLDS = (
    *(0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.23, 0.26, 0.3),
    *(0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
)
#: Half width, in steps of `THRESHOLDS`, of the window whose worst score judges a threshold.
PLATEAU = 2

TilePredictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Score:
    """The comparison at one threshold.

    Attributes:
        threshold: of the agglomeration, on the mean affinity of a contact, 0 to 1.
        voi_split: conditional entropy of the segmentation given the labels, bits: too many pieces.
        voi_merge: conditional entropy of the labels given the segmentation, bits: wrong joins.
        arand: adapted Rand error, 0 = equal.
        segments: how many.
        largest: share of all voxels in the largest segment.
    """

    threshold: float
    voi_split: float
    voi_merge: float
    arand: float
    segments: int
    largest: float

    @property
    def voi_sum(self) -> float:
        """Variation of information in bits (Meilă 2003)."""
        return self.voi_split + self.voi_merge

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the sum included."""
        return {**asdict(self), "voi_sum": self.voi_sum}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Score:
        """The inverse of `to_dict`."""
        return cls(**{name: value for name, value in values.items() if name != "voi_sum"})


def predict_alone(raw: NDArray[np.float32], geometry: Geometry, predictor: TilePredictor) -> NDArray[np.uint8]:
    """Affinities of an array that is treated as a whole volume.

    Args:
        raw: float32 (z, y, x), normalised; mirrored at its faces.
        geometry: of the model.
        predictor: tiles to affinities, see `fgnet.predictor.Predictor`.

    Returns:
        uint8 (C, z, y, x), 255 = same object.
    """
    box = whole(vector(raw.shape))
    tiling = Tiling(geometry.tile, geometry.stride, geometry.margin)
    return to_uint8(tiling.predict(raw, (0, 0, 0), box, box, predictor, len(geometry.neighbourhood)))


def score_box(box: LabelledBox, geometry: Geometry, predictor: TilePredictor) -> list[Score]:
    """Scores over `THRESHOLDS` of a held-out box; thin sections get a watershed per section."""
    method = "volume" if box.isotropic else "sections"
    return score_affinities(predict_alone(box.raw, geometry, predictor), box.labels, method)


def score_affinities(
    affinities: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    method: str = "volume",
    boundary_threshold: float = 0.5,
    min_seed_distance: int = 3,
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[Score]:
    """Segment by seeded watershed and mean affinity, and compare with labels.

    Args:
        affinities: uint8 (C >= 3, z, y, x), 255 = same object, nearest neighbours in z, y, x first.
        labels: integers (z, y, x), 0 = ignored.
        method: of the watershed, `volume` or `sections`.
        boundary_threshold: a voxel is inside an object if 1 - its mean affinity is below this, 0 to 1.
        min_seed_distance: least distance of a seed to the nearest boundary, voxels.
        thresholds: of the agglomeration, 0 to 1.

    Returns:
        One score per threshold, in their order.
    """
    fragments = segment_fragments(
        affinities,
        method,
        boundary_threshold=boundary_threshold,
        min_seed_distance=min_seed_distance,
    ).astype(np.uint64)
    edges = block_edges(affinities, fragments, whole(vector(fragments.shape)).slices())
    merges = sort_merges(*agglomerate(edges.u, edges.v, edges.sum, edges.count).merges)
    ids, fragment_of = np.unique(fragments, return_inverse=True)
    return [_score(lut(ids, merges, t)[fragment_of].reshape(labels.shape), labels, t) for t in thresholds]


def _score(segmentation: NDArray[np.uint64], labels: NDArray[np.integer[Any]], threshold: float) -> Score:
    table = contingency(segmentation, labels)
    split, merge = conditional_entropies(table)
    ids, counts = np.unique(segmentation, return_counts=True)
    counts = counts[ids > 0]  # 0 is no segment
    largest = float(counts.max(initial=0) / segmentation.size)
    return Score(float(threshold), split, merge, adapted_rand_error(table), len(counts), largest)


def plateau(curves: Sequence[Sequence[Score]], width: int = PLATEAU) -> tuple[float, float]:
    """The threshold that is best together with its neighbours.

    A threshold is judged by the worst `voi_sum` within `width` steps of it, averaged over the curves; the lowest
    judgement wins.

    Args:
        curves: scores over the same thresholds, one sequence per box.
        width: in steps of the thresholds.

    Returns:
        The threshold, and its `voi_sum` averaged over the curves, in bits.
    """
    sums = np.array([[s.voi_sum for s in curve] for curve in curves])
    count = sums.shape[1]
    worst = np.array([sums[:, max(0, i - width) : i + width + 1].max(axis=1).mean() for i in range(count)])
    best = int(worst.argmin())
    return curves[0][best].threshold, float(sums[:, best].mean())
