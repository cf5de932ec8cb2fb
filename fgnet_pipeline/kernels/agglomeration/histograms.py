"""Histograms of affinities: how often each affinity 0..255 occurs in a contact."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.kernels.compiled import njit

LEVELS = 256
"""Bins of a histogram: one for every affinity 0..255."""


@njit
def values_of(bins: Any, counts: Any, value: Any, part: tuple[int, int]) -> Any:
    """Score every histogram.

    Args:
        bins: unsigned integers (m, 256).
        counts: int64 (m,), how many affinities each row of bins holds, above 0.
        value: a compiled value of a score.
        part: the score's parameter.

    Returns:
        int64 (m,): scores 0..255.
    """
    found, row = np.empty(len(bins), np.int64), np.empty(LEVELS, np.int64)
    for i in range(len(bins)):
        for level in range(LEVELS):
            row[level] = bins[i, level]
        found[i] = value(row, counts[i], part[0], part[1])
    return found


@njit
def sums_of(bins: Any) -> Any:
    """Add up the affinities of every histogram: unsigned integers (m, 256) -> uint64 (m,)."""
    sums = np.zeros(len(bins), np.uint64)
    for i in range(len(bins)):
        for value in range(bins.shape[1]):
            sums[i] += np.uint64(value) * np.uint64(bins[i, value])
    return sums


def check_histograms(bins: NDArray[Any], sum: NDArray[np.uint64], count: NDArray[np.uint64]) -> None:
    """Check the histograms of an edge table against its sums and counts.

    Args:
        bins: unsigned integers (m, 256).
        sum: uint64 (m,), affinities added up.
        count: uint64 (m,), number of affinities.

    Raises:
        DamageError: The shape is another, or a histogram does not hold so many affinities or not with that sum.
    """
    wrong = (bins.shape[1:] != (LEVELS,)) or (bins.sum(1, dtype=np.uint64) != count).any()
    if wrong or (sums_of(bins) != sum).any():
        raise DamageError("the edge table is damaged: a histogram does not add up to the sum and count of its edge")
