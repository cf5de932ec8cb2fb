"""Minimal filtering over z on a CPU: sums of sections before and after the products, each in one pass over memory.

Lavin and Gray 2016, arXiv 1509.09308: m sections of a convolution with 3 taps from m + 2 products instead of 3 m. The
taps are multiplied with `fgnet.cpu_layers.TAPS`. Arrays are float32; rows are those of `cpu_steps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.compiled import njit

Array = NDArray[np.float32]
Six = tuple[Array, Array, Array, Array, Array, Array]
Eight = tuple[Array, Array, Array, Array, Array, Array, Array, Array]
f4 = np.float32
#: A product and a sum may be rounded once.
FUSED: Any = {"contract"}
# Loops are split, because many arrays in one loop would not be told apart by the compiler.


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def spread_fours(sections: Array, out: Array) -> None:
    """The sums of sections that minimal filtering F(4, 3) multiplies with taps; its points are 0, ±1 and ±2.

    Args:
        sections: float32 (4 n + 2, y, w).
        out: float32 (6, n, y, w).
    """
    for four in range(out.shape[1]):
        for y in range(out.shape[2]):
            a, b, c = sections[4 * four, y], sections[4 * four + 1, y], sections[4 * four + 2, y]
            d, e, f = sections[4 * four + 3, y], sections[4 * four + 4, y], sections[4 * four + 5, y]
            first, second, third = out[0, four, y], out[1, four, y], out[2, four, y]
            for i in range(a.shape[0]):
                even, odd = e[i] - f4(4) * c[i], d[i] - f4(4) * b[i]
                first[i] = f4(4) * (a[i] - c[i]) + (e[i] - c[i])
                second[i] = even + odd
                third[i] = even - odd
            fourth, fifth, sixth = out[3, four, y], out[4, four, y], out[5, four, y]
            for i in range(a.shape[0]):
                even, odd = e[i] - c[i], f4(2) * (d[i] - b[i])
                fourth[i] = even + odd
                fifth[i] = even - odd
                sixth[i] = f4(4) * (b[i] - d[i]) + (f[i] - d[i])


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def join_fours(products: Six, out: Array, totals: Array) -> None:
    """The sections of a convolution from the six products of `spread_fours`, and their moments.

    Args:
        products: float32 (n, y, w) each.
        out: float32 (4 n, y, w).
        totals: float32 (2, w); values and squares are added.
    """
    sums, squares = totals[0], totals[1]
    for four in range(products[0].shape[0]):
        for y in range(products[0].shape[1]):
            a, b, c = products[0][four, y], products[1][four, y], products[2][four, y]
            d, e, f = products[3][four, y], products[4][four, y], products[5][four, y]
            first, second = out[4 * four, y], out[4 * four + 1, y]
            third, fourth = out[4 * four + 2, y], out[4 * four + 3, y]
            for i in range(sums.shape[0]):
                even, odd = b[i] + c[i], b[i] - c[i]
                even_twice, odd_twice = d[i] + e[i], d[i] - e[i]
                p, q = a[i] + even + even_twice, odd + f4(2) * odd_twice
                r, s = even + f4(4) * even_twice, odd + f4(8) * odd_twice + f[i]
                first[i], second[i], third[i], fourth[i] = p, q, r, s
                sums[i] += (p + q) + (r + s)
                squares[i] += (p * p + q * q) + (r * r + s * s)


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def spread_sixes(sections: Array, out: Array) -> None:
    """The sums of sections that minimal filtering F(6, 3) multiplies with taps; its points are 0, ±1, ±2 and ±1/2.

    Args:
        sections: float32 (6 n + 2, y, w).
        out: float32 (8, n, y, w).
    """
    for six in range(out.shape[1]):
        for y in range(out.shape[2]):
            first = 6 * six
            a, b, c, d = sections[first, y], sections[first + 1, y], sections[first + 2, y], sections[first + 3, y]
            e, f, g, h = sections[first + 4, y], sections[first + 5, y], sections[first + 6, y], sections[first + 7, y]
            lowest, highest = out[0, six, y], out[7, six, y]
            for i in range(a.shape[0]):
                lowest[i] = (a[i] - g[i]) + f4(5.25) * (e[i] - c[i])
                highest[i] = (h[i] - b[i]) + f4(5.25) * (d[i] - f[i])
            one, minus_one = out[1, six, y], out[2, six, y]
            for i in range(a.shape[0]):
                even, odd = (c[i] + g[i]) - f4(4.25) * e[i], (b[i] + f[i]) - f4(4.25) * d[i]
                one[i], minus_one[i] = even + odd, even - odd
            two, minus_two = out[3, six, y], out[4, six, y]
            for i in range(a.shape[0]):
                even = g[i] + (f4(0.25) * c[i] - f4(1.25) * e[i])
                odd = f4(0.5) * b[i] - f4(2.5) * d[i] + f4(2) * f[i]
                two[i], minus_two[i] = even + odd, even - odd
            half, minus_half = out[5, six, y], out[6, six, y]
            for i in range(a.shape[0]):
                even = g[i] + (f4(4) * c[i] - f4(5) * e[i])
                odd = f4(2) * b[i] - f4(2.5) * d[i] + f4(0.5) * f[i]
                half[i], minus_half[i] = even + odd, even - odd


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def join_sixes(products: Eight, out: Array, totals: Array) -> None:
    """The sections of a convolution from the eight products of `spread_sixes`, and their moments.

    Args:
        products: float32 (n, y, w) each.
        out: float32 (6 n, y, w).
        totals: float32 (2, w); values and squares are added.
    """
    sums, squares = totals[0], totals[1]
    for six in range(products[0].shape[0]):
        for y in range(products[0].shape[1]):
            lowest, highest = products[0][six, y], products[7][six, y]
            one, minus_one = products[1][six, y], products[2][six, y]
            two, minus_two = products[3][six, y], products[4][six, y]
            half, minus_half = products[5][six, y], products[6][six, y]
            a, b, c = out[6 * six, y], out[6 * six + 2, y], out[6 * six + 4, y]
            for i in range(sums.shape[0]):
                ones, twos, halves = one[i] + minus_one[i], two[i] + minus_two[i], half[i] + minus_half[i]
                p = lowest[i] + ones + twos + halves
                q, r = ones + f4(4) * twos + f4(1 / 4) * halves, ones + f4(16) * twos + f4(1 / 16) * halves
                a[i], b[i], c[i] = p, q, r
                sums[i] += (p + q) + r
                squares[i] += (p * p + q * q) + r * r
            a, b, c = out[6 * six + 1, y], out[6 * six + 3, y], out[6 * six + 5, y]
            for i in range(sums.shape[0]):
                ones, twos, halves = one[i] - minus_one[i], two[i] - minus_two[i], half[i] - minus_half[i]
                p, q = ones + f4(2) * twos + f4(1 / 2) * halves, ones + f4(8) * twos + f4(1 / 8) * halves
                r = highest[i] + ones + f4(32) * twos + f4(1 / 32) * halves
                a[i], b[i], c[i] = p, q, r
                sums[i] += (p + q) + r
                squares[i] += (p * p + q * q) + r * r
