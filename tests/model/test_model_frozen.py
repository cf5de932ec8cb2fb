"""Networks whose norms have constant statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fgnet.blocks import FrozenNorm, group_norm
from fgnet.cpu_kernels import KernelSteps
from fgnet.frozen import frozen
from fgnet.network import FGNet
from fgnet.predictor import NetworkPredictor, load_network
from fgnet.training.checkpoints import export
from tiny_network import GEOMETRY
from torch import Tensor, nn

from fgnet_pipeline.kernels import cpu_steps


@pytest.fixture(scope="module")
def tiles() -> list[Tensor]:
    """Tiles (1, 1, 32, 32, 32) of one kind."""
    return list(torch.randn(3, 1, 1, *GEOMETRY.tile, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def constant(network: FGNet, tiles: list[Tensor]) -> FGNet:
    """The network with the statistics of the tiles."""
    return frozen(network, tiles)


@torch.inference_mode()
def test_one_tile_keeps_its_own_affinities(network: FGNet, tiles: list[Tensor]) -> None:
    """Statistics of this tile alone are those that the norms would measure on it."""
    found, expected = frozen(network, tiles[:1])(tiles[0]), network(tiles[0])
    torch.testing.assert_close(found.refined, expected.refined, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.coarse, expected.coarse, atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_statistics_are_means_over_tiles(network: FGNet, tiles: list[Tensor], constant: FGNet) -> None:
    """Of the first norm, whose input no other norm changes, in float64."""
    conv, norm = network.fine.stem[0][0], network.fine.stem[0][1]
    groups = [conv(tile).double().reshape(norm.num_groups, -1) for tile in tiles]
    mean = torch.stack([g.mean(1) for g in groups]).mean(0)
    variance = torch.stack([g.square().mean(1) for g in groups]).mean(0) - mean.square()
    wide = norm.num_channels // norm.num_groups
    expected = norm.weight / (variance + norm.eps).sqrt().repeat_interleave(wide)
    kept = constant.fine.stem[0][1]
    assert isinstance(kept, FrozenNorm)
    torch.testing.assert_close(kept.weight.double(), expected, atol=0, rtol=1e-5)
    torch.testing.assert_close(
        kept.bias.double(), norm.bias - mean.repeat_interleave(wide) * expected, atol=1e-6, rtol=1e-4
    )


@torch.inference_mode()
def test_far_voxels_change_nothing(network: FGNet, constant: FGNet) -> None:
    """Sections at one end of a long tile, with and without bright ones at its other end."""
    tile = torch.randn(1, 1, 256, 32, 32, generator=torch.Generator().manual_seed(2))
    other = tile.clone()
    other[:, :, 240:] = 5
    changes = {}
    for name, one in (("group", network), ("frozen", constant)):
        changes[name] = float((one(tile).refined - one(other).refined)[:, :, :32].abs().max())
    assert changes["frozen"] < 1e-5 < changes["group"]


def test_the_network_is_left_as_it_was(network: FGNet, tiles: list[Tensor]) -> None:
    before = {name: values.clone() for name, values in network.state_dict().items()}
    found = frozen(network, tiles[:1])
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert not any(isinstance(module, nn.GroupNorm) for module in found.modules())
    assert isinstance(group_norm(6, 0), FrozenNorm)


def test_weights_are_stored_and_predicted_as_others(tmp_path: Path, constant: FGNet, tiles: list[Tensor]) -> None:
    """By the definition, by torch's steps and by compiled ones."""
    path = tmp_path / "frozen.safetensors"
    export(path, constant, constant.state_dict(), GEOMETRY, half=False)
    tile = tiles[0][0].numpy()
    found = [
        NetworkPredictor(load_network(path), GEOMETRY, "exact", "cpu", 1, steps)(tile)
        for steps in (None, KernelSteps(cpu_steps))
    ]
    with torch.inference_mode():
        expected = constant(tiles[0]).refined.sigmoid().numpy()[..., 4:-4, 4:-4, 4:-4]
    for affinities in found:
        assert np.abs(affinities - expected).max() < 1 / 255
