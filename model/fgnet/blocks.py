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
    """The zero padding that keeps a shape under an odd kernel."""
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


class Conv3d(nn.Conv3d):
    """torch's Conv3d, which for inference on one CPU thread is taken to oneDNN whatever its size.

    torch leaves small kernels of one sample to its own `slow_conv3d` there, which unfolds the input, answers in another
    memory layout, and slows down what follows (benchmarks/fge_profile.py).
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
        """True where oneDNN's bfloat16 gradient of the weights is what lay in memory before, up to NaN: two sections.

        Seen with torch 2.13 on a processor with AVX512-BF16, for kernels of three sections and every other size.
        """
        mixed = x.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
        return mixed and x.shape[2] == 2 and self.kernel_size[0] > 1


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm over at most `groups` groups, as many as divide the channels."""
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def conv_norm_elu(
    inputs: int, outputs: int, kernel: Triple, groups: int, stride: Triple = (1, 1, 1), padding: Padding = "zeros"
) -> nn.Sequential:
    """Convolution without bias (`padding` as torch names it), GroupNorm, ELU."""
    conv = Conv3d(inputs, outputs, kernel, stride, same(kernel), bias=False, padding_mode=padding)
    return nn.Sequential(conv, group_norm(outputs, groups), nn.ELU(inplace=True))


class ConvNextBlock(nn.Module):
    """x + [depthwise, norm, 1x1x1 to `expansion` times the channels, ELU, 1x1x1 back, norm]."""

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
    """x + [convolution, norm, ELU, convolution, norm]: on a CPU cheaper to train than a depthwise convolution."""

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
    """LayerNorm over the channels of each voxel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        return result


def resize(x: Tensor, shape: tuple[int, ...], corners: bool) -> Tensor:
    """Trilinear to (z, y, x) = shape. corners: see `NetworkConfig.align_corners`."""
    if tuple(x.shape[2:]) == tuple(shape):
        return x
    return F.interpolate(x, size=list(shape), mode="trilinear", align_corners=corners)
