"""The pairs of parts that a segmentation should have joined or kept apart, what each costs, and where the parts meet.

Seen from a label, its parts are the pieces that lie in different segments: a further part is a split. Seen from a
segment, its parts are the pieces of different labels: a further part is a merger.
"""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector, vector

Ids = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ErrorPair:
    """Two parts of one whole.

    Attributes:
        whole: of a split the label, of a merger the segment.
        one: the largest part: of a split a segment, of a merger a label.
        other: a further part.
        voxels_one: of the largest part.
        voxels: of the further part.
        bits: by how much the VOI falls if both parts become one, and nothing else changes.
    """

    whole: int
    one: int
    other: int
    voxels_one: int
    voxels: int
    bits: float


def worst_pairs(whole: Ids, part: Ids, counts: Counts, total: int, limit: int) -> list[ErrorPair]:
    """The further parts of all wholes that cost most, the worst first.

    A whole of n voxels adds the sum of c / total * log2(n / c) over its parts of c voxels to the VOI (Meila 2007,
    doi:10.1016/j.jmva.2006.11.013). So two parts of a and b voxels cost a * log2((a + b) / a) + b * log2((a + b) / b),
    over `total`.

    Args:
        whole: (n,) ids; rows of one pair are added up.
        part: (n,) ids.
        counts: (n,) voxels.
        total: number of voxels that are scored, also those that are in no row.
        limit: number of pairs at most.
    """
    if not len(whole) or limit < 1:
        return []
    pairs, which = np.unique(np.stack([whole, part], 1), axis=0, return_inverse=True)
    sums = np.zeros(len(pairs), np.int64)
    np.add.at(sums, which.reshape(-1), counts)
    order = np.lexsort((pairs[:, 1], -sums, pairs[:, 0]))
    pairs, sums = pairs[order], sums[order]
    is_first = np.append(True, pairs[1:, 0] != pairs[:-1, 0])
    main = np.maximum.accumulate(np.where(is_first, np.arange(len(pairs)), 0))
    further = np.flatnonzero(~is_first)
    a, b = sums[main[further]], sums[further]
    bits = (a * np.log2((a + b) / a) + b * np.log2((a + b) / b)) / total
    chosen = np.argsort(-bits, kind="stable")[:limit]
    rows = zip(further[chosen].tolist(), bits[chosen].tolist(), strict=True)
    return [
        ErrorPair(int(pairs[i, 0]), int(pairs[main[i], 1]), int(pairs[i, 1]), int(sums[main[i]]), int(sums[i]), cost)
        for i, cost in rows
    ]


def contact(one: Flags, other: Flags, core: Vector) -> tuple[int, Vector | None]:
    """Where two objects touch, by faces of voxels.

    Args:
        one: (z, y, x), a block and one further layer behind it along each axis, if there is one.
        other: of the same shape.
        core: shape of the block. A face counts if the voxel before it lies in the block, so neighbours count no face
            twice.

    Returns:
        (number of faces; the voxel of `other` at a face that is nearest to the centre of all of them, None if there
        are none).
    """
    begin, end = _extent(other, core)
    if not (end > begin).all():
        return 0, None
    near = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    one, other, core = one[near], other[near], vector(np.minimum(core, end) - begin)
    found = []
    for axis in range(3):
        inside = [slice(length) for length in core]
        before, behind = list(inside), list(inside)
        before[axis] = slice(min(core[axis], one.shape[axis] - 1))
        behind[axis] = slice(1, core[axis] + 1)
        step = np.eye(3, dtype=np.int64)[axis]
        found.append(np.argwhere(other[tuple(before)] & one[tuple(behind)]))
        found.append(np.argwhere(one[tuple(before)] & other[tuple(behind)]) + step)
    voxels = np.concatenate(found) + begin
    if not len(voxels):
        return 0, None
    distance = ((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1)
    nearest = voxels[distance <= distance.min() + 1e-9]
    return len(voxels), vector(min(nearest.tolist()))


def _extent(flags: Flags, core: Vector) -> tuple[Counts, Counts]:
    """Begin and end (3,) of the voxels in which faces of an object can lie: its box and one more on every side."""
    begin, end = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for axis in range(3):
        rest = tuple(other for other in range(3) if other != axis)
        along = np.flatnonzero(flags.any(axis=rest))
        if len(along):
            begin[axis], end[axis] = max(0, along[0] - 1), min(flags.shape[axis], along[-1] + 2)
    return np.minimum(begin, np.array(core) - 1), end


def deepest_voxel(flags: Flags, voxel_size: tuple[float, float, float]) -> Vector:
    """The voxel of an object that is farthest from its border; the first in C order of several.

    Args:
        flags: (z, y, x), at least one is set.
        voxel_size: nm, zyx.
    """
    depth = edt.edt(np.ascontiguousarray(flags), anisotropy=voxel_size, black_border=True)
    return vector(np.unravel_index(int(np.argmax(depth)), flags.shape))
