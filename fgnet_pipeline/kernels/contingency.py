"""Contingency tables of a segmentation against labels, and the scores that follow from them.

A table is sparse: it has one row for each pair (segment, label) that shares a voxel, with the exact number of voxels.
Tables of disjoint blocks add up to the table of their union, so a volume of any size is scored block by block. A LUT
turns a table of *fragments* into the table of a segmentation (`relabel`).

Voxels with label 0 (no ground truth) never enter a table. Segment 0 (background) is a segment like the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.hash_table import doubled_pairs, find_pair

Ids = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Contingency:
    """Rows (segment, label, count), sorted by segment and then label, without duplicates.

    Attributes:
        segments: (n,) uint64, ids of the segmentation; 0 is its background.
        labels: (n,) uint64, ids of the ground truth, never 0.
        counts: (n,) int64, voxels in both, at least 1.
    """

    segments: Ids
    labels: Ids
    counts: Counts

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def voxels(self) -> int:
        """Number of voxels counted."""
        return int(self.counts.sum())


@njit(nogil=True)
def _count_voxels(segments: Ids, labels: Ids) -> Ids:
    """Count the pairs of two flat arrays: uint64 (n, 3), segment, label and voxels, unsorted. Label 0 is left out."""
    table = np.zeros((1024, 3), np.uint64)
    used, i, n = 0, 0, len(labels)
    while i < n:
        u, v, start = segments[i], labels[i], i
        while i < n and segments[i] == u and labels[i] == v:
            i += 1
        if v == 0:
            continue
        slot = find_pair(table, u, v)
        used += table[slot, 1] == 0
        table[slot, 0], table[slot, 1] = u, v
        table[slot, 2] += np.uint64(i - start)
        if 2 * used > len(table):
            table = doubled_pairs(table)
    return table[table[:, 1] != 0]


def _reduced(segments: Ids, labels: Ids, counts: Counts) -> Contingency:
    """Sort rows and add up those of the same pair."""
    order = np.lexsort((labels, segments))
    segments, labels, counts = segments[order], labels[order], counts[order]
    first = np.ones(len(counts), bool)
    first[1:] = (segments[1:] != segments[:-1]) | (labels[1:] != labels[:-1])
    starts = np.flatnonzero(first)
    sums = np.add.reduceat(counts, starts) if len(starts) else counts
    return Contingency(segments[starts], labels[starts], sums.astype(np.int64, copy=False))


def contingency(segmentation: npt.NDArray[np.integer], labels: npt.NDArray[np.integer]) -> Contingency:
    """Count the voxels of every pair (segment, label) in one block.

    Args:
        segmentation: integer array of any shape (usually (z, y, x)); 0 is background and counts as a segment.
        labels: integer array of the same shape; voxels with 0 are ignored.

    Returns:
        The table of the block.

    Raises:
        ValueError: The shapes differ.
    """
    if segmentation.shape != labels.shape:
        raise ValueError(f"shapes differ: segmentation {segmentation.shape}, labels {labels.shape}")
    flat = (np.ascontiguousarray(a, dtype=np.uint64).reshape(-1) for a in (segmentation, labels))
    segments, found, counts = _count_voxels(*flat).T
    return _reduced(segments, found, counts.astype(np.int64))


def empty() -> Contingency:
    """A table of no voxel."""
    return Contingency(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))


def merge(tables: Iterable[Contingency]) -> Contingency:
    """Add up tables of disjoint blocks to the table of their union; the order of the tables does not matter."""
    parts = [empty(), *tables]
    return _reduced(
        np.concatenate([t.segments for t in parts]),
        np.concatenate([t.labels for t in parts]),
        np.concatenate([t.counts for t in parts]),
    )


def relabel(table: Contingency, lut_keys: Ids, lut_values: Ids) -> Contingency:
    """Turn a table of fragments into the table of the segmentation that a LUT makes of them.

    Args:
        table: contingency of fragments against labels.
        lut_keys: (n,) uint64, fragment ids, strictly increasing.
        lut_values: (n,) uint64, segment of each fragment. Background 0 stays 0 unless the LUT holds it.

    Returns:
        The table of the segments.

    Raises:
        ValueError: The LUT is not sorted, of unequal lengths, or lacks a fragment of the table.
    """
    keys, values = np.asarray(lut_keys, np.uint64), np.asarray(lut_values, np.uint64)
    if keys.shape != values.shape or np.any(keys[1:] <= keys[:-1]):
        raise ValueError("a LUT needs strictly increasing keys and one value for each")
    if not len(keys) or keys[0] != 0:
        keys, values = np.insert(keys, 0, 0), np.insert(values, 0, 0)
    at = np.minimum(np.searchsorted(keys, table.segments), len(keys) - 1)
    missing = keys[at] != table.segments
    if missing.any():
        raise ValueError(f"the LUT lacks fragment {int(table.segments[missing][0])}")
    return _reduced(values[at], table.labels, table.counts)


def majority_labels(table: Contingency) -> tuple[Ids, Ids]:
    """The label with which every segment shares most voxels; the smallest of several. Background has none.

    Returns:
        (segments uint64 (n,), rising, without 0; the label of each uint64 (n,)): a LUT for `relabel`.
    """
    inside = table.segments > 0
    segments, labels, counts = table.segments[inside], table.labels[inside], table.counts[inside]
    order = np.lexsort((labels, -counts, segments))
    found, first = np.unique(segments[order], return_index=True)
    return found, labels[order][first]


def _totals(ids: Ids, counts: Counts) -> tuple[Counts, Counts]:
    """Count voxels by id: int64 (distinct ids,), and for each row the voxels of its id int64 (n,)."""
    distinct, inverse = np.unique(ids, return_inverse=True)
    totals = np.zeros(len(distinct), np.int64)
    np.add.at(totals, inverse, counts)
    return totals, totals[inverse]


def conditional_entropies(table: Contingency) -> tuple[float, float]:
    """The two parts of the variation of information (VOI), in bits.

    Every summand is >= 0, and a pure segment adds exactly 0. An empty table gives (0, 0).
    Source: Meila 2007, doi:10.1016/j.jmva.2006.11.013.

    Args:
        table: contingency of a segmentation against labels.

    Returns:
        The split part H(segment | label) and the merge part H(label | segment), with log2.
    """
    n = table.voxels
    if n == 0:
        return 0.0, 0.0
    share = table.counts / n
    of_segment = _totals(table.segments, table.counts)[1]
    of_label = _totals(table.labels, table.counts)[1]
    split = float(np.sum(share * np.log2(of_label / table.counts)))
    merged = float(np.sum(share * np.log2(of_segment / table.counts)))
    return split, merged


def _ordered_pairs(counts: Counts) -> int:
    """Number of ordered pairs of distinct voxels inside groups of c voxels: sum of c (c - 1), exact for any size."""
    if not len(counts):
        return 0
    total = int(counts.sum())
    if int(counts.max()) * total < 2**63:
        return int(counts @ counts) - total
    return sum(c * (c - 1) for c in counts.tolist())


def adapted_rand_error(table: Contingency) -> float:
    """1 - F-score of the pairs of voxels that are put together.

    Pairs of distinct voxels count, c (c - 1) for a group of c, as in scikit-image.
    Source: Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142.

    Args:
        table: contingency of a segmentation against labels.

    Returns:
        The error in [0, 1]; 0 if neither side joins any pair.
    """
    together = _ordered_pairs(table.counts)
    of_segments = _ordered_pairs(_totals(table.segments, table.counts)[0])
    of_labels = _ordered_pairs(_totals(table.labels, table.counts)[0])
    either = of_segments + of_labels
    return (either - 2 * together) / either if either else 0.0


def snemi_rand_error(table: Contingency, singletons: bool = True) -> float:
    """The adapted Rand error of the SNEMI3D challenge: 1 - F-score over squares of counts.

    Pairs of a voxel with itself count. Segment 0 is no object.
    Source: Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142.

    Args:
        table: contingency of a segmentation against labels.
        singletons: whether each voxel of segment 0 is an object of its own; if not, it counts for the labels alone.

    Returns:
        The error in [0, 1].
    """
    inside = table.segments > 0
    background = int(table.counts[~inside].sum()) if singletons else 0
    together = _squares(table.counts[inside]) + background
    of_segments = _squares(_totals(table.segments[inside], table.counts[inside])[0]) + background
    of_labels = _squares(_totals(table.labels, table.counts)[0])
    either = of_segments + of_labels
    return (either - 2 * together) / either if either else 0.0


def _squares(counts: Counts) -> int:
    """Number of ordered pairs inside groups, the pairs of a voxel with itself included; exact for any size."""
    return _ordered_pairs(counts) + int(counts.sum())
