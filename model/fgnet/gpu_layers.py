"""Layers for inference on a GPU that use all of it: the arithmetic of torch's layers in other kernels.

`fgnet.blocks` is the definition; this file may be deleted or replaced. On one H200, torch 2.11, two of torch's kernels
took three quarters of the time of `tiny`: the statistics of GroupNorm, which are computed by one multiprocessor per
group, and depthwise 3D convolutions. Every operation here also runs on a CPU, where the tests compare it with the
definition.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet.blocks import FrozenNorm
from fgnet.network import FGNet


class WideGroupNorm(nn.Module):
    """`nn.GroupNorm` of one sample, from sums per channel, which all multiprocessors add up.

    Sums are float32 whatever the type of the input. The norm itself is one pass of batch norm with these statistics.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        # float32 in a network of bfloat16, too, as torch's own kernel computes inside.
        self.register_buffer("weight", norm.weight.detach().float())
        self.register_buffer("bias", norm.bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (1, C, z, y, x) or (1, C, y, x)."""
        mean, variance = self._statistics(x)
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False, eps=self.eps)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the group of each channel, float32 (C,)."""
        axes, count = tuple(range(2, x.ndim)), x[0, 0].numel()
        mean = self._of_groups(x.mean(axes, dtype=torch.float32)[0])
        square = self._of_groups(torch.linalg.vector_norm(x, dim=axes, dtype=torch.float32)[0].square() / count)
        return mean, (square - mean.square()).clamp(min=0)

    def _of_groups(self, values: Tensor) -> Tensor:
        """The mean over the channels of each group, repeated for its channels."""
        wide = values.view(self.groups, -1)
        return wide.mean(1, keepdim=True).expand_as(wide).reshape(-1)


class PlanewiseDepthwise(nn.Module):
    """A depthwise 3D convolution of one sample as a sum of 2D ones: one per section of the kernel."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.register_buffer("weight", conv.weight.detach())
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())
        self.depth, *self.padding = (int(n) for n in conv.padding)

    @staticmethod
    def computes(conv: nn.Conv3d) -> bool:
        """Whether a convolution is depthwise, keeps the shape and pads with zeros."""
        plain = conv.padding_mode == "zeros" and set(conv.stride) == set(conv.dilation) == {1}
        same = not isinstance(conv.padding, str) and tuple(k // 2 for k in conv.kernel_size) == conv.padding
        return plain and same and conv.groups == conv.in_channels == conv.out_channels > 1

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (1, C, z, y, x)."""
        sections, depth = x[0].transpose(0, 1), x.shape[2]  # (z, C, y, x): sections are the samples
        total = self._plane(sections, 0, self.bias)
        for shift in range(1, min(self.depth, depth - 1) + 1):
            total[:-shift] += self._plane(sections[shift:], shift, None)
            total[shift:] += self._plane(sections[:-shift], -shift, None)
        return total.transpose(0, 1)[None]

    def _plane(self, sections: Tensor, shift: int, bias: Tensor | None) -> Tensor:
        """What sections contribute to the sections that lie `shift` before them."""
        weight = self.weight[:, :, self.depth + shift]
        return F.conv2d(sections, weight, bias, padding=self.padding, groups=len(weight))


def for_gpu(network: FGNet) -> FGNet:
    """A copy of a network that shares its weights, with a refined branch of the layers of this file.

    Args:
        network: in evaluation mode. `FGNet.refine` of the copy takes one sample per call; it cannot be trained.
    """
    result = copy.copy(network)
    result._modules = dict(network._modules)
    for name in ("fine", "decoder"):
        result._modules[name] = copy.copy(network._modules[name])
        _replace(result._modules[name])
    return result


def _replace(module: nn.Module | None) -> None:
    """Replace layers below `module`, whose containers are copied on the way."""
    assert module is not None
    module._modules = dict(module._modules)
    for name, child in module._modules.items():
        if isinstance(child, nn.GroupNorm):
            module._modules[name] = WideGroupNorm(child)
        elif isinstance(child, nn.Conv3d):
            conv = _folded(module, name, child)
            module._modules[name] = PlanewiseDepthwise(conv) if PlanewiseDepthwise.computes(conv) else conv
        elif child is not None:
            module._modules[name] = copy.copy(child)
            _replace(module._modules[name])


def _folded(module: nn.Module, name: str, conv: nn.Conv3d) -> nn.Conv3d:
    """A convolution that also computes the frozen norm of its result, which is taken out of `module`."""
    after = str(int(name) + 1) if name.isdigit() else f"{name}_norm"
    norm = module._modules.get(after)
    if not isinstance(norm, FrozenNorm):
        return conv
    module._modules[after] = nn.Identity()
    weight, bias = conv.weight.float(), torch.zeros_like(norm.bias) if conv.bias is None else conv.bias
    folded = copy.copy(conv)
    folded._parameters = {
        "weight": _like(conv.weight, weight * norm.weight.float().view(-1, 1, 1, 1, 1)),
        "bias": _like(conv.weight, bias.float() * norm.weight.float() + norm.bias.float()),
    }
    return folded


def _like(weight: Tensor, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().to(weight.dtype), requires_grad=False)
