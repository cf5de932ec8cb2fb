"""The refined branch of an FGNet for inference on a CPU: `FGNet.refine` in less time, equal but for rounding.

`fgnet.network` is the definition; this file and `fgnet.cpu_layers` may be deleted or replaced. What saves time:
convolutions with half the multiplications, norms whose sums are taken while sections are in the cache, memory that is
used again, and a head that computes only what is kept of a tile.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet.blocks import ChannelNorm, DenseBlock, Norm
from fgnet.config import NetworkConfig
from fgnet.cpu_layers import (
    Buffers,
    Convolution,
    Moments,
    guide_map,
    inner,
    norm_elu,
    plane_weight,
    upsampled,
)
from fgnet.cpu_steps import Steps
from fgnet.geometry import Geometry, Triple
from fgnet.guidance import FeatureGuidedAttention, NoGuidance, fit_depth
from fgnet.network import FGNet
from fgnet.precision import onednn_computes

CUBE = (3, 3, 3)


def computes(config: NetworkConfig, geometry: Geometry) -> bool:
    """Whether this file computes a network: 3x3x3 convolutions, dense blocks, the paper's guidance or none.

    Args:
        config: of the network.
        geometry: of its tiles; at each face a margin must be cropped off.
    """
    fine = config.fine
    cubes = all(kernel == CUBE for kernel in (*fine.stem, *fine.kernels, fine.block_kernel, fine.head_kernel))
    kinds = fine.block == "dense" and config.guidance in ("fga", "none") and len(fine.stem) > 0
    return kinds and cubes and min(geometry.margin) >= 1 and onednn_computes(torch.float32)


class _Layer:
    """Convolution, norm, ELU: what `fgnet.blocks.conv_norm_elu` builds."""

    def __init__(self, modules: nn.Module, steps: Steps) -> None:
        assert isinstance(modules, nn.Sequential)
        conv, norm, _ = modules
        assert isinstance(conv, nn.Conv3d) and isinstance(norm, Norm)
        self.conv, self.norm, self.steps = Convolution(conv, steps), norm, steps

    def __call__(self, volume: Tensor, buffers: Buffers, name: str) -> Tensor:
        out, moments = self.raw(volume, buffers, name)
        norm_elu(self.steps, out, moments, self.norm)
        return out

    def raw(self, volume: Tensor, buffers: Buffers, name: str) -> tuple[Tensor, Moments]:
        """The convolution alone, in the buffer of a name, and its moments."""
        out = buffers.volume(name, self.conv.shape(volume))
        return out, self.conv(volume, out)


class _Dense:
    """`fgnet.blocks.DenseBlock`, in place."""

    def __init__(self, block: nn.Module, steps: Steps) -> None:
        assert isinstance(block, DenseBlock)
        first, second, norm = block.body[:3], block.body[3], block.body[4]
        assert isinstance(second, nn.Conv3d) and isinstance(norm, Norm)
        self.first, self.second = _Layer(first, steps), Convolution(second, steps)
        self.norm, self.steps = norm, steps

    def __call__(self, volume: Tensor, buffers: Buffers, name: str) -> None:
        middle = self.first(volume, buffers, f"{name}b")
        out = buffers.volume(f"{name}c", self.second.shape(middle))
        moments = self.second(middle, out)
        scale, shift = (v.repeat(volume.shape[2]) for v in moments.affine(self.norm))
        for section, change in zip(inner(volume), inner(out), strict=True):
            self.steps.scaled_sum(section, change, scale, shift)


class _Joined:
    """A step of `fgnet.network.RefinedDecoder`: ChannelNorm of skip + Up(1x1x1 convolution of the level below).

    The norm subtracts the mean over channels. This is linear, so it is done in the convolution for the level below.
    """

    def __init__(self, lateral: nn.Module, norm: nn.Module, corners: bool, steps: Steps) -> None:
        assert isinstance(lateral, nn.Conv3d) and lateral.bias is not None and isinstance(norm, ChannelNorm)
        channels = lateral.out_channels
        centring = torch.eye(channels) - 1 / channels
        self.weight = (centring @ lateral.weight.flatten(1)).t().contiguous()
        self.bias = centring @ lateral.bias
        self.norm, self.corners, self.steps = norm.norm, corners, steps

    def __call__(self, below: Tensor, skip: Tensor, out: Tensor) -> None:
        """All three are volumes; `out` has the shape of `skip`."""
        low = torch.addmm(self.bias, inner(below).flatten(0, 2), self.weight)
        low = low.unflatten(0, inner(below).shape[:3])
        between = upsampled(self.steps, low, tuple(inner(skip).shape[:3]), self.corners)
        self.steps.join_level(between, inner(skip), self.norm, inner(out))


class _Head:
    """Norm and ELU of the last layer, then the 3x3x3 head, of what is kept of a tile alone.

    The three sections of the kernel are output channels of one convolution in plane, and their results are added.
    """

    def __init__(self, head: nn.Conv3d, steps: Steps) -> None:
        assert head.bias is not None
        taps = torch.cat([head.weight.detach()[:, :, k] for k in range(3)])
        self.weight = plane_weight(F.pad(taps, (0,) * 7 + (-len(taps) % 8,)))  # oneDNN likes multiples of 8
        self.bias, self.channels, self.steps = head.bias.detach()[:, None, None], head.out_channels, steps

    def __call__(self, volume: Tensor, margin: Triple, factors: tuple[Tensor, Tensor] | None) -> Tensor:
        """Logits without the margins.

        Args:
            volume: the last layer.
            margin: zyx in voxels, cropped off each face.
            factors: scale and shift (C,) of the volume's norm; None if it has none.

        Returns:
            (C, z, y, x).
        """
        deep, high, wide = (slice(m - 1, n - m + 1) for m, n in zip(margin, inner(volume).shape, strict=False))
        kept = inner(volume)[deep]
        section = torch.empty(kept[0, high, wide].shape)
        wider = None if factors is None else [v.repeat(section.shape[1]) for v in factors]
        out = torch.empty(self.channels, *(n - 2 for n in (len(kept), *section.shape[:2])))
        parts: list[list[Tensor]] = []
        for number, values in enumerate(kept):
            if wider is None:
                section.copy_(values[high, wide])
            else:
                self.steps.norm_elu(values, wider[0], wider[1], section, high.start, wide.start)
            x = section.permute(2, 0, 1)[None]
            found = torch.mkldnn_convolution(x, self.weight, None, [0, 0], [1, 1], [1, 1], 1)[0]
            parts = [*parts[-2:], list(found[: 3 * self.channels].split(self.channels))]
            if number >= 2:
                out[:, number - 2] = parts[0][0] + parts[1][1] + parts[2][2] + self.bias
        return out


def _pooled(guide: Tensor, depth: int, pool: bool) -> Tensor:
    """`fgnet.guidance.fit_depth` of a guide (1, C, z, y, x) as (z, y, x, C), contiguous; pairs of sections quickly."""
    sections = guide[0].permute(1, 2, 3, 0).contiguous()
    if pool and len(sections) == 2 * depth:
        return (sections[0::2] + sections[1::2]).mul_(0.5)
    return fit_depth(guide, depth, pool)[0].permute(1, 2, 3, 0).contiguous()


class CpuBranch:
    """Affinities of one tile. It holds copies of the weights: networks that are still trained need a new one."""

    def __init__(self, network: FGNet, margin: Triple, steps: Steps) -> None:
        """Prepare the branch of a network that `computes` accepts.

        Args:
            network: float32, on the CPU.
            margin: zyx in voxels, cropped off each face.
            steps: by torch or by kernels.
        """
        steps.prepare()
        fine, decoder = network.fine, network.decoder
        self.margin, self.steps, self.buffers = margin, steps, Buffers()
        with torch.no_grad():
            self.stem = [_Layer(layer, steps) for layer in fine.stem]
            self.down = [_Layer(layer, steps) for layer in fine.down]
            self.blocks = [[_Dense(block, steps) for block in level.children()] for level in fine.blocks]
            joined = zip(decoder.lateral, decoder.norm, strict=True)
            self.joined = [_Joined(lateral, norm, decoder.corners, steps) for lateral, norm in joined]
            self.convs = [[_Layer(layer, steps) for layer in level.children()] for level in decoder.convs]
            self.head = _Head(network.head, steps)
        self.guides = dict(fine.guide.items())

    def __call__(self, x: Tensor, guides: list[Tensor]) -> Tensor:
        """Affinities (C, z, y, x) in [0, 1] of a tile, without its margins.

        Args:
            x: (1, 1, z, y, x) float32, normalised.
            guides: three, as `FGNet.guides` makes them.
        """
        volume = self.buffers.volume("input", (*x.shape[2:], 1))
        inner(volume).copy_(x[0, 0, ..., None])
        for number, layer in enumerate(self.stem):
            volume = layer(volume, self.buffers, "0b" if number % 2 == 0 else "0c")
        levels = []
        for level, layer in enumerate(self.down):
            volume = layer(volume, self.buffers, f"{level}a")
            if str(level) in self.guides:
                self._guide(self.guides[str(level)], volume, guides[level - 1])
            for block in self.blocks[level]:
                block(volume, self.buffers, str(level))
            levels.append(volume)
        return self._decode(levels)

    def _guide(self, module: nn.Module, volume: Tensor, guide: Tensor) -> None:
        """`fgnet.guidance.FeatureGuidedAttention`, in place."""
        if isinstance(module, NoGuidance):
            return
        assert isinstance(module, FeatureGuidedAttention)
        sections = inner(volume)
        shape = tuple(sections.shape[:3])
        pooled = _pooled(guide, shape[0], module.pool)
        scale = guide_map(self.steps, module.scale, module.scale_norm, pooled).sigmoid_()
        shift = guide_map(self.steps, module.shift, module.shift_norm, pooled)
        times, plus = (upsampled(self.steps, values, shape, module.corners) for values in (scale, shift))
        self.steps.guide_level(sections, times, plus)

    def _decode(self, levels: list[Tensor]) -> Tensor:
        below = levels[-1]
        for level in reversed(range(len(levels) - 1)):
            volume = self.buffers.volume(f"{level}b", tuple(inner(levels[level]).shape))
            self.joined[level](below, levels[level], volume)
            names = itertools.cycle((f"{level}a", f"{level}b"))
            for layer in self.convs[level][: len(self.convs[level]) - (level == 0)]:
                volume = layer(volume, self.buffers, next(names))
            below = volume
        if not self.convs[0]:
            return self.head(below, self.margin, None).sigmoid_()
        last = self.convs[0][-1]  # its norm and ELU are computed of what is kept alone
        volume, moments = last.raw(below, self.buffers, next(names))
        return self.head(volume, self.margin, moments.affine(last.norm)).sigmoid_()
