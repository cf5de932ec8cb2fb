"""The layers for GPUs against those that define the network; their arithmetic runs on a CPU as it does on a GPU."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import pytest
import torch
from fgnet.blocks import Conv3d, FrozenNorm, same
from fgnet.config import NetworkConfig, preset
from fgnet.gpu_layers import PlanewiseDepthwise, WideGroupNorm, for_gpu
from fgnet.network import FGNet, channels_last
from tiny_network import SMALL
from torch import nn

Module = TypeVar("Module", bound=nn.Module)
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


def volume(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)


def with_random_weights(module: Module) -> Module:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("groups", "channels"), [(8, 16), (1, 6), (5, 5)])
@torch.inference_mode()
def test_the_norm_is_that_of_torch(groups: int, channels: int, layout: torch.memory_format) -> None:
    norm = with_random_weights(nn.GroupNorm(groups, channels))
    x = volume(1, channels, 6, 9, 11, layout=layout) * 3 + 7 * torch.arange(channels)[None, :, None, None, None]
    torch.testing.assert_close(WideGroupNorm(norm)(x), norm(x), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_the_norm_of_bfloat16_sums_in_float32() -> None:
    norm = with_random_weights(nn.GroupNorm(4, 8))
    x = (volume(1, 8, 8, 40, 40) + 2).bfloat16()
    found = WideGroupNorm(norm.bfloat16())(x)
    assert found.dtype == torch.bfloat16
    expected = norm.float()(x.float())
    # One rounding of the result: sums in bfloat16 would be wrong by per cents.
    torch.testing.assert_close(found.float(), expected, atol=0.01, rtol=0.006)


@torch.inference_mode()
def test_a_constant_gives_the_shift() -> None:
    norm = with_random_weights(nn.GroupNorm(2, 4))
    found = WideGroupNorm(norm)(torch.full((1, 4, 3, 5, 5), 1000.0))
    torch.testing.assert_close(found, norm.bias[None, :, None, None, None].expand_as(found), atol=0.05, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@pytest.mark.parametrize(("kernel", "bias"), [((3, 7, 7), False), ((5, 3, 3), True), ((1, 3, 5), False)])
@torch.inference_mode()
def test_the_sum_of_planes_is_the_convolution(
    kernel: tuple[int, int, int], bias: bool, depth: int, layout: torch.memory_format
) -> None:
    conv = with_random_weights(Conv3d(6, 6, kernel, padding=same(kernel), groups=6, bias=bias))
    assert PlanewiseDepthwise.computes(conv)
    x = volume(1, 6, depth, 12, 10, layout=layout)
    torch.testing.assert_close(PlanewiseDepthwise(conv)(x), conv(x), atol=1e-4, rtol=1e-4)


def test_other_convolutions_are_left_alone() -> None:
    others = [
        Conv3d(6, 6, 3, padding=1),
        Conv3d(6, 6, 3, padding=1, groups=3),
        Conv3d(6, 12, 3, padding=1, groups=6),
        Conv3d(6, 6, 3, padding=0, groups=6),
        Conv3d(6, 6, 3, stride=2, padding=1, groups=6),
        Conv3d(6, 6, 3, dilation=2, padding=1, groups=6),
        Conv3d(6, 6, 3, padding=1, groups=6, padding_mode="replicate"),
        Conv3d(1, 1, 3, padding=1),
    ]
    assert not any(PlanewiseDepthwise.computes(conv) for conv in others)


CONVNEXT = dataclasses.replace(
    SMALL, fine=dataclasses.replace(SMALL.fine, block="convnext", block_kernel=(3, 7, 7), blocks=(1,) * 5)
)


@pytest.mark.parametrize("config", [preset("nano"), CONVNEXT], ids=["nano", "convnext"])
@torch.inference_mode()
def test_the_refined_branch_is_that_of_the_definition(config: NetworkConfig) -> None:
    network = channels_last(with_random_weights(FGNet(config)).eval())
    wide = for_gpu(network)
    x = volume(1, 1, 32, 64, 64, layout=torch.channels_last_3d)
    guides = network.guides(x)
    torch.testing.assert_close(wide.refine(x, guides), network.refine(x, guides), atol=2e-3, rtol=2e-3)
    kinds = {type(module) for module in wide.fine.modules()}
    assert WideGroupNorm in kinds and nn.GroupNorm not in kinds
    assert (PlanewiseDepthwise in kinds) == (config is CONVNEXT)
    assert not {WideGroupNorm, PlanewiseDepthwise} & {type(module) for module in network.modules()}
    assert wide.get_parameter("fine.stem.0.0.weight") is network.get_parameter("fine.stem.0.0.weight")


@pytest.mark.parametrize("config", [SMALL, CONVNEXT], ids=["dense", "convnext"])
@torch.inference_mode()
def test_frozen_norms_are_computed_by_convolutions(config: NetworkConfig) -> None:
    network = channels_last(with_random_weights(FGNet(dataclasses.replace(config, groups=0))).eval())
    wide = for_gpu(network)
    x = volume(1, 1, 32, 64, 64, layout=torch.channels_last_3d)
    guides = network.guides(x)
    torch.testing.assert_close(wide.refine(x, guides), network.refine(x, guides), atol=2e-3, rtol=2e-3)
    assert FrozenNorm not in {type(module) for part in (wide.fine, wide.decoder) for module in part.modules()}
    assert FrozenNorm in {type(module) for module in network.modules()}
