"""Quantiles of affinity histograms: another score than the mean, and as good to divide.

The quantile p / q of n affinities is the (floor(n * p / q) + 1)-th smallest: one of the values, never a number between
two. It is the `HistogramQuantileAffinity` of waterz (with InitWithMax off); the field's `aff85_his256` is 85 / 100.

So defined it lies between the quantiles of any two parts: at most floor(n1 * p / q) + floor(n2 * p / q) values are
below the smaller of the two, and at least n1 * p / q + n2 * p / q (more, as whole numbers) are not above the larger.
That is the reducibility that `agglomeration` needs; everything there holds with "quantile" for "mean", also that octree
nodes merge what the global agglomeration merges. docs/decisions/scores.md says more, and what it costs.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import DamageError

LEVELS = 256
"""Bins of a histogram: one for every affinity 0..255."""


@njit(cache=True)
def value_at(bins: Any, count: int, p: int, q: int) -> int:
    """The quantile p / q < 1 of a histogram of `count` > 0 values: 0..255."""
    wanted, below = count * p // q, np.int64(0)
    for value in range(len(bins) - 1):
        below += np.int64(bins[value])
        if below > wanted:
            return value
    return len(bins) - 1


@njit(cache=True)
def quantiles(bins: Any, count: Any, p: int, q: int) -> Any:
    """int64 (m,): the quantile p / q of every row of bins (m, 256), which holds count (m,) values."""
    found = np.empty(len(bins), np.int64)
    for i in range(len(bins)):
        found[i] = value_at(bins[i], count[i], p, q)
    return found


@njit(cache=True)
def sums_of(bins: Any) -> Any:
    """uint64 (m,): the affinities that every row of bins (m, 256) counts, added up."""
    sums = np.zeros(len(bins), np.uint64)
    for i in range(len(bins)):
        for value in range(bins.shape[1]):
            sums[i] += np.uint64(value) * np.uint64(bins[i, value])
    return sums


def check_histograms(bins: NDArray[Any], sum: NDArray[np.uint64], count: NDArray[np.uint64]) -> None:
    """Raise DamageError unless the rows of bins (m, 256) hold count (m,) affinities that add up to sum (m,)."""
    wrong = (bins.shape[1:] != (LEVELS,)) or (bins.sum(1, dtype=np.uint64) != count).any()
    if wrong or (sums_of(bins) != sum).any():
        raise DamageError("the edge table is damaged: a histogram does not add up to the sum and count of its edge")
