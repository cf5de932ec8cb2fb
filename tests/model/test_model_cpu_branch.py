"""The refined branch for a CPU against its definition, layer by layer and as a whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fgnet import Geometry
from fgnet.blocks import resize
from fgnet.config import NetworkConfig, preset
from fgnet.cpu_branch import CpuBranch, computes
from fgnet.cpu_kernels import KernelSteps
from fgnet.cpu_layers import Convolution, Moments, inner, norm_elu, upsampled
from fgnet.cpu_steps import Steps, TorchSteps
from fgnet.describing import default_geometry
from fgnet.network import FGNet, channels_last
from fgnet.predictor import CPU_BATCH, NetworkPredictor, sections_a_call
from tiny_network import GEOMETRY, SMALL
from torch import Tensor, nn

from fgnet_pipeline.kernels import cpu_steps
from fgnet_pipeline.kernels.tiling import to_uint8

STEPS = {"torch": TorchSteps(), "kernels": KernelSteps(cpu_steps)}
EVERY = pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)


def volume_of(values: Tensor) -> Tensor:
    """(C, z, y, x) as a volume of `fgnet.cpu_layers`."""
    return F.pad(values.permute(1, 2, 3, 0), (0,) * 6 + (1, 1)).contiguous()


def values_of(volume: Tensor) -> Tensor:
    """The inverse of `volume_of`."""
    return inner(volume).permute(3, 0, 1, 2)


@pytest.mark.parametrize(
    "inputs, outputs, stride, shape",
    [
        (8, 16, (1, 1, 1), (4, 6, 5)),  # four sections from six products
        (8, 16, (1, 1, 1), (6, 4, 5)),  # six sections from eight products
        (8, 8, (1, 1, 1), (16, 5, 7)),
        (8, 8, (1, 1, 1), (24, 5, 7)),
        (8, 8, (1, 1, 1), (7, 5, 7)),  # no whole number of either
        (8, 16, (2, 2, 2), (8, 6, 10)),
        (8, 8, (1, 2, 2), (5, 6, 7)),
        (1, 8, (1, 1, 1), (7, 6, 5)),  # grey values
        (1, 8, (2, 2, 2), (8, 6, 6)),
    ],
)
@pytest.mark.parametrize("values", [1, 1 << 20])
@EVERY
def test_a_convolution_is_torchs_in_parts_of_any_size(
    inputs: int, outputs: int, stride: Any, shape: Any, values: int, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgnet.cpu_layers.STEP_VALUES", values)
    torch.manual_seed(0)
    conv = nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
    norm = nn.GroupNorm(4, outputs)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(inputs, *shape)
    with torch.inference_mode():
        ours = Convolution(conv, steps)
        out = torch.zeros(ours.shape(volume_of(x))[0] + 2, *ours.shape(volume_of(x))[1:])
        moments = ours(volume_of(x), out)
        expected = F.conv3d(x.double()[None], conv.weight.double(), None, stride, 1)
        assert torch.allclose(values_of(out).double(), expected[0], atol=1e-5)
        norm_elu(steps, out, moments, norm)
        normed = F.elu(F.group_norm(expected, 4, norm.weight.double(), norm.bias.double(), norm.eps))
    assert torch.allclose(values_of(out).double(), normed[0], atol=1e-4)
    assert not out[0].any() and not out[-1].any(), "zeros beside the first and the last section"


@EVERY
def test_moments_of_a_constant_give_no_infinity(steps: Steps) -> None:
    moments, sections = Moments(), torch.full((4, 3, 5, 8), 0.1)
    moments.add(steps.moments(sections), sections)
    scale, shift = moments.affine(nn.GroupNorm(4, 8))
    assert torch.allclose(0.1 * scale + shift, torch.zeros(8), atol=1e-4) and bool(scale.isfinite().all())


@EVERY
def test_elu_is_torchs_for_every_size_of_value(steps: Steps) -> None:
    known = [-torch.inf, -1e30, -1e4, -90.0, -80.0, -3.0, -1e-3, -0.0, 0.0, 1e-7, 0.5, 3.0, 1e30, torch.inf, torch.nan]
    values = torch.cat([torch.tensor(known), torch.linspace(-12, 2, 105)]).repeat(70, 1)[..., None]
    expected = F.elu(values.double() * 2 + 0.5).float()
    scale, shift = torch.full((120,), 2.0), torch.full((120,), 0.5)
    part, place = torch.empty(60, 110, 1), (slice(6, 66), slice(7, 117))
    steps.norm_elu(values, scale[:110], shift[:110], part, 6, 7)
    assert torch.allclose(part, expected[place], atol=4e-7, rtol=1e-6, equal_nan=True)
    steps.norm_elu(values, scale, shift, values)
    assert torch.equal(values[place].nan_to_num(7), part.nan_to_num(7)), "in place"
    assert torch.allclose(values, expected, atol=4e-7, rtol=1e-6, equal_nan=True)


RESIZED = pytest.mark.parametrize(
    "shape", [(3, 4, 5), (6, 8, 10), (3, 8, 10), (6, 4, 5), (6, 8, 5), (7, 9, 10), (1, 1, 1)]
)


def resized(x: Tensor, shape: tuple[int, int, int], corners: bool) -> Tensor:
    """A map (z, y, x, C) by the definition."""
    return resize(x.permute(3, 0, 1, 2)[None], shape, corners)[0].permute(1, 2, 3, 0)


@pytest.mark.parametrize("corners", [False, True])
@RESIZED
@EVERY
def test_a_level_is_joined_with_the_map_of_resize(shape: tuple[int, int, int], corners: bool, steps: Steps) -> None:
    torch.manual_seed(0)
    x, skip, norm = torch.randn(3, 4, 5, 6), torch.randn(*shape, 6), nn.LayerNorm(6)
    x -= x.mean(-1, keepdim=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    found = torch.empty(*shape, 6)
    with torch.inference_mode():
        steps.join_level(upsampled(steps, x, shape, corners), skip, norm, found)
        expected = norm(skip + resized(x, shape, corners))
    assert torch.allclose(found, expected, atol=5e-6)


@pytest.mark.parametrize("corners", [False, True])
@RESIZED
@EVERY
def test_a_level_is_guided_by_the_maps_of_resize(shape: tuple[int, int, int], corners: bool, steps: Steps) -> None:
    torch.manual_seed(0)
    times, plus, volume = torch.randn(3, 4, 5, 6), torch.randn(3, 4, 5, 6), torch.randn(*shape, 6)
    expected = volume * resized(times, shape, corners) + resized(plus, shape, corners)
    steps.guide_level(volume, *(upsampled(steps, values, shape, corners) for values in (times, plus)))
    assert torch.allclose(volume, expected, atol=5e-6)


def changed(**changes: Any) -> NetworkConfig:
    """The small network with other values, of its fine part for the names of `FineConfig`."""
    names = {field.name for field in dataclasses.fields(SMALL.fine)}
    fine = dataclasses.replace(SMALL.fine, **{k: v for k, v in changes.items() if k in names})
    return dataclasses.replace(SMALL, fine=fine, **{k: v for k, v in changes.items() if k not in names})


LIKE_NANO: dict[str, Any] = {"blocks": (0, 2, 1, 1, 1), "decoder_convs": (1, 1, 1, 0, 0), "align_corners": False}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        LIKE_NANO,
        {**LIKE_NANO, "guidance": "none", "stem": ((3, 3, 3), (3, 3, 3))},
        {**LIKE_NANO, "pool_guides": False, "decoder_convs": (2, 0, 1, 0, 0)},
        {"strides": ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)), "blocks": (1, 0, 0, 0, 2)},
    ],
)
@EVERY
def test_the_branch_is_the_definition(changes: dict[str, Any], steps: Steps) -> None:
    config = changed(**changes)
    assert computes(config, GEOMETRY)
    torch.manual_seed(0)
    network = channels_last(FGNet(config)).eval()
    for parameter in network.parameters():  # norms do not begin with 1 and 0
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    branch = CpuBranch(network, GEOMETRY.margin, steps)
    tiles = torch.randn(2, 1, 1, *GEOMETRY.tile)
    with torch.inference_mode():
        for x in tiles:
            guides = network.guides(x)
            expected = network.refine(x, guides)[0].sigmoid()[:, 4:-4, 4:-4, 4:-4]
            found = branch(x, guides)
            assert found.shape == expected.shape and float((found - expected).abs().max()) < 1e-4
        fresh = CpuBranch(network, GEOMETRY.margin, steps)(tiles[1], guides)
    assert torch.equal(fresh, found), "nothing is left of the tile before"


def test_networks_of_another_kind_are_left_to_the_definition() -> None:
    assert computes(preset("nano"), default_geometry(preset("nano")))
    for other in ("tiny", "large"):
        assert not computes(preset(other), default_geometry(preset(other)))
    for changes in ({"block": "convnext"}, {"guidance": "se"}, {"head_kernel": (1, 5, 5)}, {"stem": ()}):
        assert not computes(changed(**changes), GEOMETRY)
    assert not computes(SMALL, dataclasses.replace(GEOMETRY, margin=(4, 0, 4)))


def test_the_predictor_uses_it_on_a_cpu_in_float32_alone() -> None:
    network = channels_last(FGNet(SMALL)).eval()
    tile = np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32)
    found = {}
    for mode in ("reference", "exact"):
        for name, steps in (*STEPS.items(), ("definition", None)):
            predictor = NetworkPredictor(network, GEOMETRY, mode, "cpu", 1, steps)
            assert (predictor.branch is not None) == (mode == "exact" and steps is not None)
            found[mode, name] = predictor(tile)
    for name in STEPS:
        assert np.array_equal(found["reference", name], found["reference", "definition"])
        assert 0 < np.abs(found["exact", name] - found["exact", "definition"]).max() < 1e-4
    assert not np.array_equal(found["exact", "torch"], found["exact", "kernels"])


@pytest.mark.parametrize("tile", [(32, 32, 32), (48, 32, 64), (24, 64, 32), (16, 96, 32)])
def test_stored_affinities_differ_by_one_step_at_most(tile: tuple[int, int, int]) -> None:
    geometry = dataclasses.replace(GEOMETRY, tile=tile, stride=tuple(n - 8 for n in tile))
    torch.manual_seed(0)
    network = channels_last(FGNet(changed(**LIKE_NANO))).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    values = np.random.default_rng(0).normal(size=(1, *tile)).astype(np.float32)
    expected, *found = (
        to_uint8(NetworkPredictor(network, geometry, "exact", "cpu", 1, steps)(values)).astype(int)
        for steps in (None, *STEPS.values())
    )
    assert np.ptp(expected) > 50, "affinities of many values"
    for affinities in found:
        assert np.abs(affinities - expected).max() <= 1 and (affinities != expected).mean() < 0.01


@EVERY
def test_a_value_that_is_no_number_leaves_no_affinity_as_in_the_definition(steps: Steps) -> None:
    network = channels_last(FGNet(SMALL)).eval()
    tile = np.zeros((1, 32, 32, 32), np.float32)
    for value in (np.nan, np.inf):
        tile[0, 1, 2, 3] = value
        for each in (None, steps):
            assert np.isnan(NetworkPredictor(network, GEOMETRY, "exact", "cpu", 1, each)(tile)).all()


def test_few_common_divisors_do_not_make_small_calls_of_the_encoder() -> None:
    geometry = Geometry((32, 32, 32), (23, 16, 16), (4, 4, 4), (10.0, 10.0, 10.0), architecture="test")
    assert sections_a_call(geometry, torch.device("cpu"), "exact", branch=True) == CPU_BATCH
