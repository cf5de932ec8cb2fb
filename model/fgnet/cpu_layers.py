"""Layers of the refined branch for inference on a CPU: sections one after another, so that they stay in the caches.

A *volume* here is float32 (z + 2, y, x, C), contiguous: channels are last, and its first and last section are 0, the
padding of a 3x3x3 convolution. `inner` is a volume without these two sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fgnet.blocks import FrozenNorm, Norm, affine_of, resize
from fgnet.cpu_steps import Between, Pair, Steps

#: Values of a volume that one step of a convolution takes at most, unless the least step holds more: 4 MiB.
STEP_VALUES = 1 << 20
#: Minimal filtering F(m, 3) over z (Lavin and Gray 2016, arXiv 1509.09308): m sections of a convolution with 3 taps
#: from m + 2 products instead of 3 m. For each m, these are the factors of the three taps in each product.
TAPS = {
    4: (
        (1 / 4, 0.0, 0.0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0.0, 0.0, 1.0),
    ),
    6: (
        (1.0, 0.0, 0.0),
        (-2 / 9, -2 / 9, -2 / 9),
        (-2 / 9, 2 / 9, -2 / 9),
        (1 / 90, 1 / 45, 2 / 45),
        (1 / 90, -1 / 45, 2 / 45),
        (32 / 45, 16 / 45, 8 / 45),
        (32 / 45, -16 / 45, 8 / 45),
        (0.0, 0.0, 1.0),
    ),
}


class Buffers:
    """Volumes that every tile uses again: to get new memory, page by page, costs more than a norm does."""

    def __init__(self) -> None:
        self.held: dict[str, Tensor] = {}

    def volume(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The volume of a name for the shape (z, y, x, C); what its inner sections hold is left from its last use."""
        whole = (shape[0] + 2, *shape[1:])
        if name not in self.held or self.held[name].shape != whole:
            self.held[name] = torch.zeros(whole)
        return self.held[name]


def inner(volume: Tensor) -> Tensor:
    """A volume (z + 2, y, x, C) without its first and last section; a view."""
    return volume[1:-1]


class Moments:
    """Sums and sums of squares per channel, from which a GroupNorm over all voxels follows."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []
        self.squares: list[Tensor] = []
        self.count = 0

    def add(self, pair: Pair, sections: Tensor) -> None:
        """Count `Steps.moments` of sections (n, y, x, C)."""
        self.sums.append(pair[0])
        self.squares.append(pair[1])
        self.count += sections[..., 0].numel()

    def affine(self, norm: Norm) -> Pair:
        """Scale and shift per channel (C,), float32: the norm of v is v * scale + shift."""
        if isinstance(norm, FrozenNorm):
            return norm.weight.detach(), norm.bias.detach()
        wide = norm.num_channels // norm.num_groups
        totals = [torch.stack(parts).double().sum(0) for parts in (self.sums, self.squares)]
        mean, square = (t.view(-1, norm.num_groups, wide).sum((0, 2)) / (self.count * wide) for t in totals)
        return affine_of(norm, mean, square)


def norm_elu(steps: Steps, volume: Tensor, moments: Moments, norm: Norm) -> None:
    """Norm and ELU of a volume, in place."""
    scale, shift = (v.repeat(volume.shape[2]) for v in moments.affine(norm))
    for section in inner(volume):
        steps.norm_elu(section, scale, shift, section)


def _plane(x: Tensor, weight: Tensor, stride: Sequence[int] = (1, 1)) -> Tensor:
    """A 3x3 convolution of sections (n, y, x, C) to (n, y', x', O), contiguous, zeros around it."""
    found = torch.mkldnn_convolution(x.permute(0, 3, 1, 2), weight, None, [1, 1], stride, [1, 1], 1)
    return found.permute(0, 2, 3, 1).contiguous()


def plane_weight(weight: Tensor) -> Tensor:
    """A weight (O, C, 3, 3) in the layout of sections with channels last."""
    return weight.contiguous(memory_format=torch.channels_last)


class Convolution:
    """A 3x3x3 convolution without bias, zeros around it, from one volume into another."""

    def __init__(self, conv: nn.Conv3d, steps: Steps) -> None:
        weight, self.steps = conv.weight.detach(), steps
        self.inputs, self.outputs, self.stride = conv.in_channels, conv.out_channels, conv.stride
        self.direct = weight.contiguous(memory_format=torch.channels_last_3d)
        self.products = {size: _products(weight, size) for size in steps.sizes}
        self.taps = plane_weight(torch.cat([weight[:, :, k] for k in range(3)], dim=1))

    def shape(self, volume: Tensor) -> tuple[int, ...]:
        """(z, y, x, C) of the result."""
        sizes = (volume.shape[0] - 2, *volume.shape[1:3])
        return (*((n - 1) // s + 1 for n, s in zip(sizes, self.stride, strict=True)), self.outputs)

    def __call__(self, volume: Tensor, out: Tensor) -> Moments:
        """Convolve a volume into the volume `out`; returns the moments of the result."""
        moments, depth = Moments(), out.shape[0] - 2
        fits = self.stride == (1, 1, 1) and self.inputs > 1
        size = next((n for n in self.products if fits and depth % n == 0), 1)
        step = _step(depth, max(out[0].numel(), self._gathered(volume)), size)
        work = torch.empty(self.steps.room(size), step // size, *volume.shape[1:]) if size > 1 else None
        for begin in range(0, depth, step):
            target = out[1 + begin : 1 + begin + step]
            if work is not None:
                found = self._filtered(volume[begin : begin + step + 2], target, work, self.products[size])
            else:
                self._direct(volume, begin, target)
                found = self.steps.moments(target)
            moments.add(found, target)
        return moments

    def _filtered(self, x: Tensor, out: Tensor, work: Tensor, weights: list[Tensor]) -> Pair:
        """m n sections from m n + 2 by `TAPS`: sums of sections, convolutions in plane, sums of their results."""
        sums = self.steps.spread(x, work)
        products = [_plane(values, weight) for values, weight in zip(sums, weights, strict=True)]
        return self.steps.join(products, out)

    def _gathered(self, volume: Tensor) -> int:
        """Values of three sections, if a convolution with strides has them as channels; otherwise 0."""
        fits = 1 < self.inputs <= self.steps.gathers and self.stride != (1, 1, 1)
        return 3 * volume[0].numel() if fits else 0

    def _direct(self, volume: Tensor, begin: int, out: Tensor) -> None:
        """Sections from `begin` on, without `TAPS`. Three neighbouring sections may be channels of a 2D convolution."""
        deep, *plane = self.stride
        grey = self.inputs == 1 and self.stride == (1, 1, 1)
        if grey or self._gathered(volume):
            last = (begin + len(out) - 1) * deep + 1
            x = torch.cat([volume[begin * deep + tap : last + tap : deep] for tap in range(3)], dim=-1)
            out.copy_(_plane(x, self.taps, plane))
        else:
            self._sections(volume, begin, out)

    def _sections(self, volume: Tensor, begin: int, out: Tensor) -> None:
        first = begin * self.stride[0]
        x = volume[first : first + (len(out) - 1) * self.stride[0] + 3].permute(3, 0, 1, 2)[None]
        found = torch.mkldnn_convolution(x, self.direct, None, [0, 1, 1], self.stride, [1, 1, 1], 1)
        out.copy_(found[0].permute(1, 2, 3, 0))


def _products(weight: Tensor, size: int) -> list[Tensor]:
    """Weights in plane (O, C, 3, 3) from those of a convolution (O, C, 3, 3, 3), one per product of `TAPS`."""
    taps = torch.tensor(TAPS[size], dtype=torch.float64)
    products = torch.einsum("kz,oczyx->kocyx", taps, weight.double())
    return [plane_weight(w.float()) for w in products]


def _step(depth: int, section: int, unit: int) -> int:
    """Sections of one step: the greatest divisor of the depth, a multiple of `unit`, of at most `STEP_VALUES`."""
    fitting = [n for n in range(unit, depth + 1, unit) if depth % n == 0 and n * section <= STEP_VALUES]
    return max(fitting, default=unit)


def guide_map(steps: Steps, conv: nn.Conv3d, norm: Norm, guide: Tensor) -> Tensor:
    """Norm of a (1, 3, 3) convolution of a guide (z, y, x, C), contiguous."""
    found = _plane(guide, plane_weight(conv.weight[:, :, 0]))
    moments = Moments()
    moments.add(steps.moments(found), found)
    scale, shift = moments.affine(norm)
    return torch.addcmul(shift, found, scale)


def upsampled(steps: Steps, x: Tensor, shape: tuple[int, ...], corners: bool) -> Iterator[Between]:
    """The sections of a map (z, y, x, C) that is interpolated as `fgnet.blocks.resize` does.

    Args:
        steps: by which sections are doubled in plane.
        x: the map, contiguous.
        shape: zyx wanted. Axes that stay or double are interpolated section by section.
        corners: see `NetworkConfig.align_corners`.
    """
    factors = [wanted / given for wanted, given in zip(shape, x.shape, strict=False)]
    if factors != [1, 1, 1] and (corners or not set(factors) <= {1, 2}):
        x, factors = resize(x.permute(3, 0, 1, 2)[None], shape, corners)[0].permute(1, 2, 3, 0).contiguous(), [1, 1, 1]
    planes = (steps.doubled(section, factors[1] == 2, factors[2] == 2) for section in x)
    if factors[0] == 1:
        yield from ((plane, plane, 0.0) for plane in planes)
        return
    before = now = next(planes)
    for _ in range(len(x)):
        after = next(planes, now)
        yield now, before, 0.25
        yield now, after, 0.25
        before, now = now, after
