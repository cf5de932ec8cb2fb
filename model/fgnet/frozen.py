"""Norms with constant statistics, taken from a trained network: no training follows.

A GroupNorm couples all voxels of a tile: its result depends on where tiles lie, and needs a pass over them before it
can be computed. In one kind of tissue, normalised alike, its statistics hardly differ from tile to tile. So they are
measured on some tiles and kept. The norm is then a scale and a shift per channel, which a convolution can compute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fgnet.blocks import affine_of
from fgnet.network import FGNet, channels_last


class _Statistics:
    """Means of a norm's input and of its square, per group, added up over tiles."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        self.norm, self.count = norm, 0
        self.mean = torch.zeros(norm.num_groups, dtype=torch.float64, device=norm.weight.device)
        self.square = self.mean.clone()

    def add(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Count the input of one call; a hook of the norm."""
        for sample in inputs[0].double():
            groups = sample.reshape(self.norm.num_groups, -1)
            self.mean += groups.mean(1)
            self.square += groups.square().mean(1)
            self.count += 1

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift per channel (C,), float32: the norm of v is v * scale + shift."""
        return affine_of(self.norm, self.mean / self.count, self.square / self.count)


@torch.no_grad()
def frozen(network: FGNet, tiles: Iterable[Tensor]) -> FGNet:
    """A network like `network` whose norms have constant statistics: their means over tiles.

    Args:
        network: trained, in evaluation mode.
        tiles: float32 (1, 1, z, y, x), normalised, on the network's device, of the shape that the network is used with;
            at least one.
    """
    norms = {name: module for name, module in network.named_modules() if isinstance(module, nn.GroupNorm)}
    found = {name: _Statistics(norm) for name, norm in norms.items()}
    hooks = [norm.register_forward_pre_hook(found[name].add) for name, norm in norms.items()]
    try:
        for tile in tiles:
            guides = network.guides(tile)
            network.coarse_logits(guides, tuple(tile.shape[2:]))
            network.refine(tile, guides)
    finally:
        for hook in hooks:
            hook.remove()
    result = FGNet(dataclasses.replace(network.config, groups=0))
    weights = dict(network.state_dict())
    for name, statistics in found.items():
        weights[f"{name}.weight"], weights[f"{name}.bias"] = statistics.affine()
    result.load_state_dict(weights)
    return channels_last(result).eval()
