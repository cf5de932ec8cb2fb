"""The steps of `fgnet.cpu_branch` that are bound by memory, by compiled functions, each in one pass over memory.

The model itself needs torch alone: the functions are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgnet.cpu_steps import Between, Pair

Array = NDArray[np.float32]
Six = tuple[Array, Array, Array, Array, Array, Array]
Eight = tuple[Array, Array, Array, Array, Array, Array, Array, Array]


class Kernels(Protocol):
    """Compiled functions. All arrays are float32; a section is (y, w) with w = x * C, contiguous."""

    def warm_up(self) -> None:
        """Compile or load them all."""

    def norm_elu(self, section: Array, scale: Array, shift: Array, out: Array, top: int, left: int) -> None:
        """out = ELU(section * scale + shift) of the part of the section that begins at a row and a column."""

    def scaled_sum(self, section: Array, change: Array, scale: Array, shift: Array) -> None:
        """Add change * scale + shift to a section."""

    def moments(self, sections: Array, totals: Array) -> None:
        """Add the values and the squares of sections (n, y, w) to totals (2, w)."""

    def spread_fours(self, sections: Array, out: Array) -> None:
        """Sections (4 n + 2, y, w) -> the six sums (6, n, y, w) that `fgnet.cpu_layers.TAPS` are multiplied with."""

    def join_fours(self, products: Six, out: Array, totals: Array) -> None:
        """Six products (n, y, w) -> sections (4 n, y, w), with `moments` of them."""

    def spread_sixes(self, sections: Array, out: Array) -> None:
        """Sections (6 n + 2, y, w) -> eight sums (8, n, y, w)."""

    def join_sixes(self, products: Eight, out: Array, totals: Array) -> None:
        """Eight products (n, y, w) -> sections (6 n, y, w), with `moments` of them."""

    def join_level(
        self, near: Array, far: Array, share: float, skip: Array, factors: Array, eps: float, out: Array
    ) -> None:
        """out = LayerNorm over channels of skip + near * (1 - share) + far * share; factors are (2, C).

        Beside `skip`, `near` and `far` may have half the rows, half the columns, or both.
        """

    def guide_level(
        self, section: Array, channels: int, times: tuple[Array, Array, float], plus: tuple[Array, Array, float]
    ) -> None:
        """section = section * times + plus, each as near, far and share for `join_level`."""


class KernelSteps:
    """`Steps` by compiled functions, each in one pass over memory."""

    sizes: tuple[int, ...] = (6, 4)
    gathers = 16

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def room(self, size: int) -> int:
        """See `Steps`: the sums alone."""
        return size + 2

    def prepare(self) -> None:
        """Compile or load the functions."""
        self.kernels.warm_up()

    def norm_elu(self, section: Tensor, scale: Tensor, shift: Tensor, out: Tensor, top: int = 0, left: int = 0) -> None:
        """See `Steps`."""
        place = (top, left * section.shape[-1])
        self.kernels.norm_elu(_lines(section), scale.numpy(), shift.numpy(), _lines(out), *place)

    def scaled_sum(self, section: Tensor, change: Tensor, scale: Tensor, shift: Tensor) -> None:
        """See `Steps`."""
        self.kernels.scaled_sum(_lines(section), _lines(change), scale.numpy(), shift.numpy())

    def moments(self, sections: Tensor) -> Pair:
        """See `Steps`."""
        totals = _totals(sections)
        self.kernels.moments(_lines(sections), totals.numpy())
        return totals[0], totals[1]

    def spread(self, sections: Tensor, work: Tensor) -> Tensor:
        """See `Steps`."""
        spread = self.kernels.spread_fours if len(work) == 6 else self.kernels.spread_sixes
        spread(_lines(sections), _lines(work))
        return work

    def join(self, products: list[Tensor], out: Tensor) -> Pair:
        """See `Steps`."""
        totals = _totals(out)
        a, b, c, d, e, f, *rest = (_lines(product) for product in products)
        if not rest:
            self.kernels.join_fours((a, b, c, d, e, f), _lines(out), totals.numpy())
        else:
            self.kernels.join_sixes((a, b, c, d, e, f, rest[0], rest[1]), _lines(out), totals.numpy())
        return totals[0], totals[1]

    def doubled(self, section: Tensor, along_y: bool, along_x: bool) -> Tensor:
        """See `Steps`. The kernels interpolate the rows that they need."""
        return section

    def join_level(self, between: Iterable[Between], skip: Tensor, norm: nn.LayerNorm, out: Tensor) -> None:
        """See `Steps`."""
        factors = torch.stack([norm.weight.detach(), norm.bias.detach()]).numpy()
        for (near, far, share), section, target in zip(between, skip, out, strict=True):
            arrays = (_lines(near), _lines(far), share, _lines(section))
            self.kernels.join_level(*arrays, factors, norm.eps, _lines(target))

    def guide_level(self, volume: Tensor, times: Iterable[Between], plus: Iterable[Between]) -> None:
        """See `Steps`."""
        for section, scale, shift in zip(volume, times, plus, strict=True):
            first, second = ((_lines(near), _lines(far), share) for near, far, share in (scale, shift))
            self.kernels.guide_level(_lines(section), volume.shape[-1], first, second)


def _lines(sections: Tensor) -> Array:
    """(..., y, x, C), contiguous, as an array (..., y, x * C) of the same memory."""
    array: Array = sections.flatten(-2).numpy()
    return array


def _totals(sections: Tensor) -> Tensor:
    """Zeros (2, x * C) for the moments of sections (n, y, x, C)."""
    return torch.zeros(2, sections.shape[-2] * sections.shape[-1])
