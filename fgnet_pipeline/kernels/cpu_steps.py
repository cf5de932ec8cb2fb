"""The steps of a network's refined branch that are bound by memory, each in one pass: `fgnet.cpu_kernels.Kernels`.

Sections are float32 (y, x * C), channels last, and contiguous. A factor per channel is repeated for every voxel of a
row, so that loops run over rows and the compiler uses the whole width of the processor's registers. Nothing is assumed
of the values: what is no number stays none, as in torch.
"""

from __future__ import annotations

import numpy as np

from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.cpu_filtering import FUSED, Array, f4, join_fours, join_sixes, spread_fours, spread_sixes

__all__ = [
    "guide_level",
    "join_fours",
    "join_level",
    "join_sixes",
    "moments",
    "norm_elu",
    "scaled_sum",
    "spread_fours",
    "spread_sixes",
    "warm_up",
]

Between = tuple[Array, Array, float]
Place = tuple[int, int, int]
LOWEST = f4(-87)
"""exp of less is below the smallest normal number."""
LOG2_E = f4(1.4426950408889634)
TO_INTEGER = f4(12582912)
"""1.5 * 2^23: after this was added, the last bits of a float32 are the nearest integer."""
LN2_HIGH, LN2_LOW = f4(0.693359375), f4(-2.12194440e-4)
A0, A1, A2 = f4(1.9875691500e-4), f4(1.3981999507e-3), f4(8.3334519073e-3)
A3, A4, A5 = f4(4.1665795894e-2), f4(1.6666665459e-1), f4(5.0000001201e-1)
"""(exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2, highest power first: the polynomial of Cephes' expf."""


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def norm_elu(section: Array, scale: Array, shift: Array, out: Array, top: int, left: int) -> None:
    """out = ELU(section * scale + shift), where `out` begins at row `top` and column `left` of the section.

    exp(v) = 2^n exp(r) with v = n ln(2) + r; ELU is max(v, exp(min(v, 0)) - 1), because exp(v) - 1 >= v.

    Args:
        section: float32 (y, w).
        scale: float32, as long as a row of `out`.
        shift: the same.
        out: float32; may be the section itself.
        top: row of the section.
        left: column of the section.
    """
    w = scale.shape[0]
    found = np.empty(w, np.float32)  # in place, the compiler would otherwise compute one value after another
    for row in range(out.shape[0]):
        source, target = section[top + row, left : left + w], out[row]
        for i in range(w):
            v = source[i] * scale[i] + shift[i]
            low = f4(0) if v > f4(0) else v
            low = LOWEST if low < LOWEST else low
            power = low * LOG2_E + TO_INTEGER
            factor = np.int32((np.float32(power).view(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)
            n = power - TO_INTEGER
            r = (low - n * LN2_HIGH) - n * LN2_LOW
            p = ((((A0 * r + A1) * r + A2) * r + A3) * r + A4) * r + A5
            less = (p * (r * r) + r) * factor + (factor - f4(1))
            found[i] = less if less > v else v
        for i in range(w):
            target[i] = found[i]


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def scaled_sum(section: Array, change: Array, scale: Array, shift: Array) -> None:
    """Add change * scale + shift to a section.

    Args:
        section: float32 (y, w), changed in place.
        change: float32 (y, w).
        scale: float32 (w,).
        shift: float32 (w,).
    """
    for y in range(section.shape[0]):
        target, source = section[y], change[y]
        for i in range(scale.shape[0]):
            target[i] += source[i] * scale[i] + shift[i]


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def moments(sections: Array, totals: Array) -> None:
    """Add the values and the squares of sections to totals.

    Args:
        sections: float32 (n, y, w).
        totals: float32 (2, w).
    """
    sums, squares = totals[0], totals[1]
    for z in range(sections.shape[0]):
        for y in range(sections.shape[1]):
            row = sections[z, y]
            for i in range(row.shape[0]):
                sums[i] += row[i]
                squares[i] += row[i] * row[i]


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def _between(near: Array, far: Array, share: float, place: Place, narrow: Array, out: Array) -> None:
    """Row of a section between two sections, which may have half as many rows and half as many columns.

    Args:
        near: float32 (y, w).
        far: the same.
        share: of `far`, in [0, 1].
        place: the row, the number of rows of the result, channels.
        narrow: float32 (w,), overwritten.
        out: float32 (w,) or (2 * w,): near * (1 - share) + far * share, interpolated as `fgnet.cpu_steps.doubled` does.
    """
    row, rows, channels = place
    at, width, quarter, part = row, narrow.shape[0], f4(0.25), f4(share)
    beside = row
    if rows != near.shape[0]:
        at = row // 2
        beside = min(max(at + 2 * (row % 2) - 1, 0), near.shape[0] - 1)
    a, b, c, d = near[at], near[beside], far[at], far[beside]
    for i in range(width):
        first, second = a[i] + quarter * (b[i] - a[i]), c[i] + quarter * (d[i] - c[i])
        narrow[i] = first + part * (second - first)
    if out.shape[0] == width:
        for i in range(width):
            out[i] = narrow[i]
        return
    voxels, pairs = narrow.reshape(-1, channels), out.reshape(-1, 2, channels)
    last = voxels.shape[0] - 1
    for x in range(last + 1):
        low, high = max(x - 1, 0), min(x + 1, last)
        for i in range(channels):
            pairs[x, 0, i] = voxels[x, i] + quarter * (voxels[low, i] - voxels[x, i])
        for i in range(channels):
            pairs[x, 1, i] = voxels[x, i] + quarter * (voxels[high, i] - voxels[x, i])


# The sums over the channels of a voxel may be taken in another order.
@njit(error_model="numpy", fastmath=FUSED | {"reassoc"}, nogil=True)
def join_level(near: Array, far: Array, share: float, skip: Array, factors: Array, eps: float, out: Array) -> None:
    """out = LayerNorm over channels of skip + near * (1 - share) + far * share, for one section.

    Args:
        near: float32 (y, w), the section of the level below at this place; or half as many rows, columns, or both.
        far: the same, of its neighbour.
        share: of the neighbour, in [0, 1].
        skip: float32 (y, w).
        factors: float32 (2, C), weight and bias of the norm.
        eps: of the norm.
        out: float32 (y, w).
    """
    gain, offset = factors[0], factors[1]
    channels, one = gain.shape[0], f4(1) / f4(gain.shape[0])
    narrow, line = np.empty(near.shape[1], np.float32), np.empty(out.shape[1], np.float32)
    voxels = line.reshape(-1, channels)
    for y in range(out.shape[0]):
        _between(near, far, share, (y, out.shape[0], channels), narrow, line)
        row, target = skip[y], out[y].reshape(-1, channels)
        for i in range(line.shape[0]):
            line[i] += row[i]
        for x in range(voxels.shape[0]):
            total = f4(0)
            for c in range(channels):
                total += voxels[x, c]
            mean, total = total * one, f4(0)
            for c in range(channels):
                total += (voxels[x, c] - mean) * (voxels[x, c] - mean)
            factor = f4(1) / np.sqrt(total * one + f4(eps))
            for c in range(channels):
                target[x, c] = (voxels[x, c] - mean) * factor * gain[c] + offset[c]


@njit(error_model="numpy", fastmath=FUSED, nogil=True)
def guide_level(section: Array, channels: int, times: Between, plus: Between) -> None:
    """section = section * times + plus, in place.

    Args:
        section: float32 (y, w).
        channels: C.
        times: near, far and share, as `join_level` takes them.
        plus: the same.
    """
    narrow = np.empty(times[0].shape[1], np.float32)
    scale, shift = np.empty(section.shape[1], np.float32), np.empty(section.shape[1], np.float32)
    for y in range(section.shape[0]):
        place = (y, section.shape[0], channels)
        _between(times[0], times[1], times[2], place, narrow, scale)
        _between(plus[0], plus[1], plus[2], place, narrow, shift)
        row = section[y]
        for i in range(row.shape[0]):
            row[i] = row[i] * scale[i] + shift[i]


def warm_up() -> None:
    """Compile or load every kernel of a network, for the types that `fgnet.cpu_kernels` gives them."""
    sections, row, totals = np.ones((8, 2, 4), np.float32), np.ones(4, np.float32), np.zeros((2, 4), np.float32)
    products = np.empty((8, 1, 2, 4), np.float32)
    a, b, c, d, e, f, g, h = products
    spread_fours(sections[:6], products[:6])
    join_fours((a, b, c, d, e, f), sections[:4], totals)
    spread_sixes(sections, products)
    join_sixes((a, b, c, d, e, f, g, h), sections[:6], totals)
    moments(sections, totals)
    norm_elu(sections[0], row, row, sections[1], 0, 0)
    scaled_sum(sections[0], sections[1], row, row)
    between = (sections[0], sections[1], 0.25)
    join_level(sections[0], sections[1], 0.25, sections[2], totals[:, :2].copy(), 1e-5, sections[3])
    guide_level(sections[2], 2, between, between)
