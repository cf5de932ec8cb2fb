"""Exact order of mean affinities, given as integer sums and counts.

The mean of an edge is sum / (255 * count). Two means are compared as the fractions sum / count: in float64 if they
differ by more than the rounding of a division, otherwise by the 128-bit products sum1 * count2 and sum2 * count1.
Sums are in [0, 2^63), counts in [1, 2^63).
"""

from typing import Any

import numpy as np

from fgnet_pipeline.kernels.compiled import njit

ROUNDING = 2e-15
"""Bound on the relative error of the difference of two float64 quotients of 63-bit integers (6 roundings)."""

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_SMALL = np.int64(1 << 31)


@njit
def product(x: int, y: int) -> Any:
    """Multiply x and y, both in [0, 2^63): the high and the low 64-bit word of the product, uint64."""
    a, b = np.uint64(x), np.uint64(y)
    a_low, a_high = a & _LOW, a >> _HALF
    b_low, b_high = b & _LOW, b >> _HALF
    low = a_low * b_low
    middle = a_high * b_low + (low >> _HALF)
    cross = a_low * b_high + (middle & _LOW)
    high = a_high * b_high + (middle >> _HALF) + (cross >> _HALF)
    return high, (cross << _HALF) | (low & _LOW)


@njit
def compare_fractions(sum1: int, count1: int, sum2: int, count2: int) -> int:
    """The sign of sum1 / count1 - sum2 / count2, exactly: 1, 0 or -1."""
    if (sum1 | count1 | sum2 | count2) < _SMALL:
        difference = sum1 * count2 - sum2 * count1
        return 1 if difference > 0 else (-1 if difference < 0 else 0)
    high1, low1 = product(sum1, count2)
    high2, low2 = product(sum2, count1)
    if high1 != high2:
        return 1 if high1 > high2 else -1
    if low1 != low2:
        return 1 if low1 > low2 else -1
    return 0


@njit(error_model="numpy")
def compare_means(mean1: float, sum1: int, count1: int, mean2: float, sum2: int, count2: int) -> int:
    """As `compare_fractions`, given mean = sum / count in float64: integers are needed only for near ties."""
    tolerance = ROUNDING * (mean1 + mean2)
    if mean1 - mean2 > tolerance:
        return 1
    if mean2 - mean1 > tolerance:
        return -1
    return compare_fractions(sum1, count1, sum2, count2)
