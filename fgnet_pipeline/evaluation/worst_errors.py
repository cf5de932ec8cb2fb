"""The splits and mergers that cost most, each with a place to look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.csv_text import csv_text
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.evaluation.evaluate import Comparison
from fgnet_pipeline.evaluation.pair_places import PairPlaces
from fgnet_pipeline.kernels.contingency import Contingency
from fgnet_pipeline.kernels.error_pairs import ErrorPair, contact, deepest_voxel, worst_pairs
from fgnet_pipeline.store.frame import Frame

SPLIT, MERGER = "split", "merger"
_FIELDS = ("rank", "kind", "label", "segment", "other", "bits", "voxels", "voxels_main", "faces", "z", "y", "x",
           "z_nm", "y_nm", "x_nm")  # fmt: skip


@dataclass(frozen=True)
class LabelledError:
    """A label that two segments share, or a segment that holds two labels.

    Attributes:
        kind: `SPLIT` or `MERGER`.
        pair: the two parts. Of a split, the whole is a label and the parts are segments; of a merger the reverse.
        faces: between voxels of both parts; 0 if they do not touch.
        position: a voxel of the further part, zyx, in voxels of the segmentation: at the middle of the contact in the
            block with most faces. If the parts do not touch, it lies deepest in the further part, in the block that
            holds most of it.
        nm: the middle of this voxel in the world, zyx; None if no voxel size is known.
    """

    kind: str
    pair: ErrorPair
    faces: int = 0
    position: Vector = (0, 0, 0)
    nm: tuple[float, float, float] | None = None

    @property
    def label(self) -> int:
        """The label that is split; of a merger, the one with most voxels in the segment."""
        return self.pair.whole if self.kind == SPLIT else self.pair.one

    @property
    def segment(self) -> int:
        """The segment that is a merger; of a split, the one with most voxels of the label."""
        return self.pair.one if self.kind == SPLIT else self.pair.whole

    def parts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(segment, label) of the largest part and of the further part."""
        if self.kind == SPLIT:
            return (self.pair.one, self.pair.whole), (self.pair.other, self.pair.whole)
        return (self.pair.whole, self.pair.one), (self.pair.whole, self.pair.other)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ids are texts."""
        return {
            "kind": self.kind,
            "label": str(self.label),
            "segment": str(self.segment),
            "other": str(self.pair.other),
            "bits": self.pair.bits,
            "voxels": self.pair.voxels,
            "voxels_main": self.pair.voxels_one,
            "faces": self.faces,
            "position": list(self.position),
            "position_nm": None if self.nm is None else list(self.nm),
        }


def worst_errors(
    comparison: Comparison, table: Contingency, places: PairPlaces, frame: Frame | None, limit: int
) -> list[LabelledError]:
    """Find the worst splits and mergers, and a place for each.

    Blocks that hold parts of them are read once more. Segment 0 is no part: it is neither split nor merged.

    Args:
        comparison: that was counted.
        table: what it counted.
        places: of the pairs of this table.
        frame: of the segmentation; None if it is unknown.
        limit: number of splits, and of mergers, at most.

    Returns:
        The splits, then the mergers; the worst of each kind first.
    """
    inside = table.segments > 0
    segments, labels, counts = table.segments[inside], table.labels[inside], table.counts[inside]
    found = [LabelledError(SPLIT, pair) for pair in worst_pairs(labels, segments, counts, table.voxels, limit)]
    found += [LabelledError(MERGER, pair) for pair in worst_pairs(segments, labels, counts, table.voxels, limit)]
    size = (1.0, 1.0, 1.0) if frame is None else frame.voxel_size
    placed = []
    for error, (faces, at) in zip(found, _contacts(comparison, found, places), strict=True):
        voxel = _deepest(comparison, error, places, size) if at is None else at
        voxel = vector(np.subtract(voxel, comparison.segmentation_offset))
        placed.append(replace(error, faces=faces, position=voxel, nm=_nm(frame, voxel)))
    return placed


def _nm(frame: Frame | None, voxel: Vector) -> tuple[float, float, float] | None:
    if frame is None:
        return None
    z, y, x = (float(o + (v + 0.5) * s) for o, v, s in zip(frame.offset, voxel, frame.voxel_size, strict=True))
    return z, y, x


def _contacts(
    comparison: Comparison, errors: list[LabelledError], places: PairPlaces
) -> list[tuple[int, Vector | None]]:
    """Number of faces between the parts of each error, and a voxel at them in the common grid."""
    # A face lies in the block of the voxel before it, which holds one part, and beside a block that holds the other.
    near = [_grown(places.of(*one)[1]).intersect(_grown(places.of(*other)[1]))
            for one, other in (error.parts() for error in errors)]  # fmt: skip
    faces, most = [0] * len(errors), [0] * len(errors)
    at: list[Vector | None] = [None] * len(errors)
    for box in comparison.blocks():
        here = [i for i, region in enumerate(near) if region and region.intersect(box)]
        if not here:
            continue
        segments, labels = comparison.voxels(box.grow((0, 0, 0), (1, 1, 1)).intersect(comparison.overlap()))
        for i in here:
            one, other = (_is_part(segments, labels, part) for part in errors[i].parts())
            count, voxel = contact(one, other, box.shape)
            faces[i] += count
            if voxel is not None and count > most[i]:
                most[i], at[i] = count, vector(np.add(voxel, box.begin))
    return list(zip(faces, at, strict=True))


def _grown(box: Box) -> Box:
    return box.grow((1, 1, 1), (1, 1, 1))


def _is_part(
    segments: npt.NDArray[np.uint64], labels: npt.NDArray[np.uint64], part: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (segments == np.uint64(part[0])) & (labels == np.uint64(part[1]))
    return found


def _deepest(
    comparison: Comparison, error: LabelledError, places: PairPlaces, size: tuple[float, float, float]
) -> Vector:
    part = error.parts()[1]
    box = places.of(*part)[0]
    return vector(np.add(deepest_voxel(_is_part(*comparison.voxels(box), part), size), box.begin))


def errors_text(errors: Iterable[LabelledError]) -> str:
    """The errors as CSV. Ids are text, since many programs round numbers above 2^53."""
    rows = list[list[Any]]()
    ranks = dict.fromkeys((SPLIT, MERGER), 0)
    for error in errors:
        ranks[error.kind] += 1
        pair, nm = error.pair, ("", "", "") if error.nm is None else error.nm
        ids = [str(error.label), str(error.segment), str(pair.other)]
        sizes = [round(pair.bits, 9), pair.voxels, pair.voxels_one, error.faces]
        rows.append([ranks[error.kind], error.kind, *ids, *sizes, *error.position, *nm])
    return csv_text(_FIELDS, rows)
