"""The steps of `fgnet.cpu_branch` that are bound by memory, and how torch alone computes them.

`fgnet.cpu_kernels` computes the same, but for rounding, by compiled functions of the caller. What torch computes must
keep its last bits, because outputs that were begun with it are completed by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

#: Rows of a section that one step of torch's norm takes, so that its three arrays stay in the cache of a core.
STRIP = 32
Pair = tuple[Tensor, Tensor]
#: (near, far, share): the section near * (1 - share) + far * share; both are (y, x, C).
Between = tuple[Tensor, Tensor, float]


class Steps(Protocol):
    """What `fgnet.cpu_branch` leaves to torch or to kernels. Sections are float32 (y, x, C), channels last.

    Attributes:
        sizes: m of the minimal filtering F(m, 3) that is computed, see `fgnet.cpu_layers.TAPS`; the first that divides
            the depth of a result is used.
        gathers: channels up to which a convolution with strides is one in plane, of three sections as channels; 0 if a
            convolution in space computes all of them.
    """

    sizes: tuple[int, ...]
    gathers: int

    def room(self, size: int) -> int:
        """Arrays like one sum that `spread` works in, for an m of `sizes`."""

    def prepare(self) -> None:
        """Do before the first tile what would else delay it."""

    def norm_elu(self, section: Tensor, scale: Tensor, shift: Tensor, out: Tensor, top: int = 0, left: int = 0) -> None:
        """out = ELU(section * scale + shift) of the part of a section that begins at a row and a column.

        Args:
            section: contiguous.
            scale: (x * C,) for the x of `out`: one factor per value of a row.
            shift: the same.
            out: contiguous; may be the section itself.
            top: row.
            left: column, in voxels.
        """

    def scaled_sum(self, section: Tensor, change: Tensor, scale: Tensor, shift: Tensor) -> None:
        """Add change * scale + shift to a section; factors as for `norm_elu`."""

    def moments(self, sections: Tensor) -> Pair:
        """Sums of the values and of the squares of sections (n, y, x, C) over n and y, each (x * C,)."""

    def spread(self, sections: Tensor, work: Tensor) -> Tensor:
        """The sums of sections that `fgnet.cpu_layers.TAPS` are multiplied with.

        Args:
            sections: (m n + 2, y, x, C).
            work: (`room(m)`, n, y, x, C), overwritten.

        Returns:
            (m + 2, n, y, x, C), in `work`.
        """

    def join(self, products: list[Tensor], out: Tensor) -> Pair:
        """Sections of a convolution from m + 2 products, which may be overwritten.

        Args:
            products: (n, y, x, C) each.
            out: (m n, y, x, C).

        Returns:
            `moments` of `out`.
        """

    def doubled(self, section: Tensor, along_y: bool, along_x: bool) -> Tensor:
        """A section for `join_level` and `guide_level`, which is wanted with twice the rows, columns, or both."""

    def join_level(self, between: Iterable[Between], skip: Tensor, norm: nn.LayerNorm, out: Tensor) -> None:
        """out = `norm` of skip + between, section by section.

        Args:
            between: one per section, with a mean of 0 over the channels of every voxel.
            skip: (z, y, x, C).
            norm: over the channels.
            out: (z, y, x, C).
        """

    def guide_level(self, volume: Tensor, times: Iterable[Between], plus: Iterable[Between]) -> None:
        """volume * times + plus, section by section in place.

        Args:
            volume: (z, y, x, C).
            times: one per section.
            plus: one per section.
        """


class TorchSteps:
    """`Steps` by torch."""

    sizes: tuple[int, ...] = (4,)
    gathers = 0

    def room(self, size: int) -> int:
        """See `Steps`: six sums and four of their parts."""
        return size + 6

    def prepare(self) -> None:
        """Nothing is to be done."""

    def norm_elu(self, section: Tensor, scale: Tensor, shift: Tensor, out: Tensor, top: int = 0, left: int = 0) -> None:
        """See `Steps`. ELU(v) is max(v, exp(min(v, 0)) - 1), because exp(v) - 1 >= v."""
        part = section[top : top + out.shape[0], left : left + out.shape[1]]
        for lines, target in zip(part.flatten(1).split(STRIP), out.flatten(1).split(STRIP), strict=True):
            values = torch.addcmul(shift, lines, scale)
            below = values.clamp(max=0).exp_().sub_(1)
            torch.maximum(values, below, out=target)

    def scaled_sum(self, section: Tensor, change: Tensor, scale: Tensor, shift: Tensor) -> None:
        """See `Steps`."""
        lines = section.flatten(1)
        torch.addcmul(lines, change.flatten(1), scale, out=lines).add_(shift)

    def moments(self, sections: Tensor) -> Pair:
        """See `Steps`."""
        lines = sections.flatten(0, 1).flatten(1)
        return lines.sum(0), lines.square().sum(0)

    def spread(self, sections: Tensor, work: Tensor) -> Tensor:
        """See `Steps`."""
        d = [sections[i : i + len(sections) - 5 : 4] for i in range(6)]
        v, (a, b, c, e) = work[:6], work[6:]
        torch.sub(d[4], d[2], alpha=4, out=a)
        torch.sub(d[3], d[1], alpha=4, out=b)
        torch.sub(d[4], d[2], out=c)
        torch.sub(d[3], d[1], out=e)
        torch.add(a, b, out=v[1])
        torch.sub(a, b, out=v[2])
        torch.add(c, e, alpha=2, out=v[3])
        torch.sub(c, e, alpha=2, out=v[4])
        torch.add(c, torch.sub(d[0], d[2], out=a), alpha=4, out=v[0])
        torch.sub(torch.sub(d[5], d[3], out=b), e, alpha=4, out=v[5])
        return v

    def join(self, products: list[Tensor], out: Tensor) -> Pair:
        """See `Steps`."""
        m = products
        odd, even = m[1] - m[2], m[1].add_(m[2])
        odd_twice, even_twice = m[3] - m[4], m[3].add_(m[4])
        torch.add(odd, odd_twice, alpha=2, out=out[1::4])
        torch.add(even, even_twice, alpha=4, out=out[2::4])
        torch.add(m[0], even.add_(even_twice), out=out[0::4])
        torch.add(m[5], odd.add_(odd_twice, alpha=8), out=out[3::4])
        return self.moments(out)

    def doubled(self, section: Tensor, along_y: bool, along_x: bool) -> Tensor:
        """See `Steps`."""
        narrow = doubled(section, 1) if along_x else section
        return doubled(narrow, 0) if along_y else narrow

    def join_level(self, between: Iterable[Between], skip: Tensor, norm: nn.LayerNorm, out: Tensor) -> None:
        """See `Steps`. The mean over channels is subtracted by a product with a matrix, to which `between` is added."""
        channels = skip.shape[-1]
        centring, mean = torch.eye(channels) - 1 / channels, torch.full((channels,), 1 / channels)
        gain, offset = (v.repeat(skip.shape[2]) for v in (norm.weight, norm.bias))
        for (near, far, share), section, target in zip(between, skip, out, strict=True):
            up = _mixed(near, far, share)
            centred = torch.addmm(up.flatten(0, 1), section.flatten(0, 1), centring)
            deviation = torch.mv(centred.square(), mean).add_(norm.eps).rsqrt_()
            lines = centred.mul_(deviation[:, None]).view_as(target.flatten(1))
            torch.addcmul(offset, lines, gain, out=target.flatten(1))

    def guide_level(self, volume: Tensor, times: Iterable[Between], plus: Iterable[Between]) -> None:
        """See `Steps`."""
        for section, scale, shift in zip(volume, times, plus, strict=True):
            torch.addcmul(_mixed(*shift), section, _mixed(*scale), out=section)


def doubled(x: Tensor, axis: int) -> Tensor:
    """Linear interpolation to twice the length of an axis: each value is cut into two halves, the ends are repeated."""
    n = x.shape[axis]
    out = x.new_empty([2 * m if i == axis else m for i, m in enumerate(x.shape)])
    first, second = (out.unflatten(axis, (n, 2)).select(axis + 1, half) for half in range(2))
    low, high = x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1)
    torch.lerp(high, low, 0.25, out=first.narrow(axis, 1, n - 1))
    torch.lerp(low, high, 0.25, out=second.narrow(axis, 0, n - 1))
    first.select(axis, 0).copy_(x.select(axis, 0))
    second.select(axis, n - 1).copy_(x.select(axis, n - 1))
    return out


def _mixed(near: Tensor, far: Tensor, share: float) -> Tensor:
    return near if share == 0 else torch.lerp(near, far, share)
