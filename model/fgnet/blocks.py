"""The 3D building blocks: convolution with norm, residual blocks, channel norm, resizing.

Tensors are (B, C, z, y, x).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet.config import Padding
from fgnet.geometry import Triple
from fgnet.precision import onednn_computes


def same(kernel: Triple) -> Triple:
    """The zero padding, zyx in voxels per face, with which a convolution of an odd kernel keeps the shape."""
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


class Conv3d(nn.Conv3d):
    """torch's Conv3d, computed by oneDNN for inference on a CPU.

    On one CPU thread torch computes small kernels of a single sample by its own `slow_conv3d`, which unfolds the input
    and returns another memory layout; the layers that follow are slower then (benchmarks/fge_profile.py).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self._is_misread(x):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype and self.padding_mode == "zeros"
        if not plain or torch.is_grad_enabled() or not onednn_computes(x.dtype):
            return super().forward(x)
        assert not isinstance(self.padding, str)  # shapes alone are given here
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )

    def _is_misread(self, x: Tensor) -> bool:
        """True if oneDNN would return a gradient of the weights that it never computed: bfloat16 and two sections.

        The gradient then holds the former content of its memory, even NaN. Seen with torch 2.13 on a processor with
        AVX512-BF16, if the kernel has three sections, whatever the other sizes are.
        """
        mixed = x.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
        return mixed and x.shape[2] == 2 and self.kernel_size[0] > 1


class FrozenNorm(nn.Module):
    """A norm with constant statistics, see `fgnet.frozen`: v * weight + bias per channel, whatever the tile holds."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *(1 for _ in x.shape[2:]))
        return torch.addcmul(self.bias.view(shape), x, self.weight.view(shape))


Norm = nn.GroupNorm | FrozenNorm


def group_norm(channels: int, groups: int) -> Norm:
    """GroupNorm with the greatest number of groups that divides the channels and is at most `groups`.

    Args:
        channels: of the features.
        groups: at most; 0 for a norm with constant statistics.
    """
    if groups == 0:
        return FrozenNorm(channels)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def affine_of(norm: nn.GroupNorm, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel (C,), float32, of a norm with given statistics: the norm of v is v * scale + shift.

    Args:
        norm: its groups, weight, bias and eps count.
        mean: float64 (groups,), of the values.
        square: float64 (groups,), mean of their squares.
    """
    wide = norm.num_channels // norm.num_groups
    deviation = ((square - mean**2).clamp(min=0) + norm.eps).sqrt()
    scale = norm.weight.detach().double() / deviation.repeat_interleave(wide)
    shift = norm.bias.detach().double() - mean.repeat_interleave(wide) * scale
    return scale.float(), shift.float()


def conv_norm_elu(
    inputs: int, outputs: int, kernel: Triple, groups: int, stride: Triple = (1, 1, 1), padding: Padding = "zeros"
) -> nn.Sequential:
    """Convolution without bias, GroupNorm, ELU.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: zyx in voxels, odd.
        groups: of the norm at most, see `group_norm`.
        stride: zyx in voxels.
        padding: `padding_mode` as torch names it.
    """
    conv = Conv3d(inputs, outputs, kernel, stride, same(kernel), bias=False, padding_mode=padding)
    return nn.Sequential(conv, group_norm(outputs, groups), nn.ELU(inplace=True))


class ConvNextBlock(nn.Module):
    """x + [depthwise, norm, 1x1x1 to `expansion` times the channels, ELU, 1x1x1 back, norm]; the shape stays."""

    def __init__(self, channels: int, kernel: Triple, expansion: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv3d(channels, channels, kernel, padding=same(kernel), groups=channels, bias=False),
            group_norm(channels, groups),
            Conv3d(channels, channels * expansion, 1),
            nn.ELU(inplace=True),
            Conv3d(channels * expansion, channels, 1, bias=False),
            group_norm(channels, groups),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.body(x)
        return result


class DenseBlock(nn.Module):
    """x + [convolution, norm, ELU, convolution, norm]; the shape stays.

    On a CPU it is cheaper to train than a depthwise convolution. It has no expansion; the argument makes the two kinds
    of blocks interchangeable.
    """

    def __init__(self, channels: int, kernel: Triple, expansion: int, groups: int) -> None:
        super().__init__()
        del expansion
        self.body = nn.Sequential(
            *conv_norm_elu(channels, channels, kernel, groups),
            Conv3d(channels, channels, kernel, padding=same(kernel), bias=False),
            group_norm(channels, groups),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.body(x)
        return result


BLOCKS: dict[str, type[ConvNextBlock] | type[DenseBlock]] = {"convnext": ConvNextBlock, "dense": DenseBlock}


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each voxel; the shape stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        return result


def resize(x: Tensor, shape: tuple[int, ...], corners: bool) -> Tensor:
    """Trilinear interpolation of (B, C, z, y, x) to another (z, y, x).

    Args:
        x: the map.
        shape: zyx wanted.
        corners: see `NetworkConfig.align_corners`.
    """
    if tuple(x.shape[2:]) == tuple(shape):
        return x
    return F.interpolate(x, size=list(shape), mode="trilinear", align_corners=corners)
