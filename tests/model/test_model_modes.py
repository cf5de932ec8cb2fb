"""Modes of inference: what each of them computes, and that none depends on blocks or on what was computed before."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fgnet import Geometry
from fgnet.blocks import Conv3d, same
from fgnet.config import GUIDANCE, NetworkConfig, preset
from fgnet.cpu_kernels import KernelSteps
from fgnet.describing import default_geometry
from fgnet.encoder import SectionEncoder
from fgnet.geometry import Triple
from fgnet.network import FGNet, channels_last
from fgnet.precision import computes_bfloat16
from fgnet.predictor import BATCH, CPU_BATCH, NetworkPredictor, sections_a_call
from fgnet.weights import MODES, in_mode
from numpy.typing import NDArray
from tiny_network import DEVICES, GEOMETRY, SMALL

from fgnet_pipeline.core.geometry import Box, Grid, indices, vector, whole
from fgnet_pipeline.kernels import cpu_steps
from fgnet_pipeline.kernels.tiling import Tiling, to_uint8

Array = NDArray[np.float32]
#: Tiles that overlap by half in z and by margins in plane.
OVERLAPPING = Geometry((32, 32, 32), (8, 24, 24), (4, 4, 4), (10.0, 10.0, 10.0), architecture="test")


def volume(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


KERNELS = KernelSteps(cpu_steps)


def on(device: str, network: FGNet, geometry: Geometry, mode: str) -> NetworkPredictor:
    """As stage predict computes: with kernels, which are of use on a CPU."""
    return NetworkPredictor(copy.deepcopy(network).to(device), geometry, mode, device, 1, KERNELS)


def predict(raw: Array, box: Box, geometry: Geometry, predictor: NetworkPredictor) -> Array:
    tiling = Tiling(geometry.tile, geometry.stride, geometry.margin)
    bounds = whole(vector(raw.shape))
    reads = tiling.reads(box, bounds)
    return tiling.predict(raw[reads.slices()], reads.begin, bounds, box, predictor, 3)


def plain_sliding_window(raw: Array, box: Box, geometry: Geometry, network: FGNet) -> Array:
    """Every tile by the network's own forward pass, blended with the same weights: nothing cached, nothing skipped."""

    def forward(tiles: Array) -> Array:
        with torch.inference_mode():
            found = network(torch.from_numpy(np.ascontiguousarray(tiles))[:, None]).refined.sigmoid().numpy()
        z, y, x = (slice(m, n - m) for m, n in zip(geometry.margin, geometry.tile, strict=True))
        return np.asarray(found[..., z, y, x])

    tiling = Tiling(geometry.tile, geometry.stride, geometry.margin)
    bounds = whole(vector(raw.shape))
    reads = tiling.reads(box, bounds)
    return tiling.predict(raw[reads.slices()], reads.begin, bounds, box, forward, 3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stride", [(8, 24, 24), (16, 16, 16), (24, 24, 24)])
def test_exact_equals_the_plain_sliding_window_of_its_stride(
    network: FGNet, stride: tuple[int, int, int], device: str
) -> None:
    geometry = dataclasses.replace(OVERLAPPING, stride=stride)
    raw, box = volume(40, 40, 48), Box((4, 4, 8), (36, 40, 40))
    found = predict(raw, box, geometry, on(device, network, geometry, "exact"))
    expected = plain_sliding_window(raw, box, geometry, network)
    assert np.abs(found - expected).max() < 1 / 255
    difference = to_uint8(found).astype(int) - to_uint8(expected)
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_a_block_encodes_every_section_of_an_xy_tile_exactly_once(network: FGNet, device: str) -> None:
    """Inside a volume, whatever the overlap in z, and although no more than one tile's guides are kept."""
    sections: list[int] = []
    watched = copy.deepcopy(network)
    watched.encoder.register_forward_pre_hook(lambda _, inputs: sections.append(len(inputs[0])))
    raw, box = volume(96, 72, 96), Box((32, 24, 24), (64, 48, 72))
    predictor = NetworkPredictor(watched.to(device), OVERLAPPING, "exact", device, 1, KERNELS)
    predictor.cache.limit = 0
    predict(raw, box, OVERLAPPING, predictor)
    tiling = Tiling(OVERLAPPING.tile, OVERLAPPING.stride, OVERLAPPING.margin)
    tiles = [t.grow((4, 4, 4), (4, 4, 4)) for t in tiling.tiles(box, whole(vector(raw.shape)))]
    needed = {(z, t.begin[1:]) for t in tiles for z in range(t.begin[0], t.end[0])}
    assert len(tiles) * 32 > 2 * len(needed)
    batch = predictor.cache.batch
    assert sections == [batch] * (len(needed) // batch) and len(needed) % batch == 0


def test_sections_mirrored_at_the_face_of_a_volume_are_encoded_once(network: FGNet) -> None:
    sections: list[int] = []
    watched = copy.deepcopy(network)
    watched.encoder.register_forward_pre_hook(lambda _, inputs: sections.append(len(inputs[0])))
    raw = volume(48, 24, 24)
    predictor = NetworkPredictor(watched, OVERLAPPING, "exact", "cpu", 1, steps=None)  # its calls are small
    predict(raw, whole((48, 24, 24)), OVERLAPPING, predictor)
    assert sections == [CPU_BATCH] * (48 // CPU_BATCH)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", MODES)
def test_blocks_hold_the_same_bytes_as_the_whole(network: FGNet, mode: str, device: str) -> None:
    """One predictor after another's blocks in any order, or a new one for every block: nobody can tell."""
    geometry = in_mode(OVERLAPPING, mode)
    raw, box = volume(40, 32, 40), whole((40, 32, 40))
    expected = predict(raw, box, geometry, on(device, network, geometry, mode))
    grid, found = Grid((16, 32, 24)), np.zeros_like(expected)
    kept = on(device, network, geometry, mode)
    for number, index in enumerate(reversed(list(indices(grid.covering(box))))):
        part = grid.box(index).intersect(box)
        predictor = kept if number % 2 else on(device, network, geometry, mode)
        found[(slice(None), *part.slices())] = predict(raw, part, geometry, predictor)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["nano", "tiny", "large"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_calls_of_the_encoder_divide_the_tiles_of_every_preset(name: str, mode: str, device: str) -> None:
    geometry = in_mode(default_geometry(preset(name)), mode)
    for branch in (False, device == "cpu" and name == "nano"):
        count = sections_a_call(geometry, torch.device(device), mode, branch)
        assert geometry.tile[0] % count == geometry.stride[0] % count == 0
        assert count >= (8 if device == "cuda" or branch else CPU_BATCH)


def test_fast_encodes_whole_batches_and_leaves_the_network_alone(network: FGNet) -> None:
    predictor = NetworkPredictor(network, GEOMETRY, "fast", "cpu", 1, KERNELS)
    sections: list[int] = []
    predictor.network.encoder.register_forward_pre_hook(lambda _, inputs: sections.append(len(inputs[0])))
    predictor(volume(1, 32, 32, 32))
    batch = 16 if predictor.branch is not None else BATCH
    assert sections == [batch] * (32 // batch)
    assert all(p.dtype == torch.float32 for p in network.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", GUIDANCE)
def test_fast_comes_close_with_every_guidance(kind: str, device: str) -> None:
    torch.manual_seed(0)
    network = channels_last(FGNet(dataclasses.replace(SMALL, guidance=kind)))
    tile = volume(1, 32, 32, 32)
    exact, fast = (on(device, network, GEOMETRY, mode)(tile) for mode in ("exact", "fast"))
    assert fast.dtype == np.float32 and np.abs(fast - exact).max() < 0.05
    if computes_bfloat16(torch.device(device)):
        assert not np.array_equal(fast, exact)


def test_the_position_embedding_is_interpolated_once_and_follows_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = SectionEncoder(SMALL.encoder).eval()
    trunk = encoder.image_encoder.trunk
    torch.nn.init.normal_(trunk.pos_embed)
    section = torch.randn(1, 1, 32, 32)
    calls: list[int] = []
    interpolate = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda *args, **kwargs: (calls.append(1), interpolate(*args, **kwargs))[1])
    with torch.inference_mode():
        first = encoder(section)[0]
        once = len(calls)
        encoder(section)
        assert len(calls) == 2 * once - 1
        assert encoder(torch.randn(1, 1, 32, 64))[0].shape == (1, SMALL.encoder.d_model, 8, 16)
    with torch.no_grad():
        trunk.pos_embed += 1
    with torch.inference_mode():
        changed = encoder(section)[0]
    with_gradients = encoder(section)[0]
    assert not torch.equal(first, changed) and torch.equal(changed, with_gradients)
    with_gradients.sum().backward()
    assert trunk.pos_embed.grad is not None


def test_the_coarse_head_of_the_paper_repeats_the_edge() -> None:
    paper = preset("tiny")
    assert paper.coarse_padding == "replicate" and preset("nano").coarse_padding == "zeros"
    older = NetworkConfig.from_json(SMALL.to_json().replace('"coarse_padding": "zeros", ', ""))
    assert older == SMALL
    constant = torch.full((1, 8, 4, 8, 8), 0.7)
    spread = {}
    for padding in ("zeros", "replicate"):
        torch.manual_seed(0)
        network = FGNet(dataclasses.replace(SMALL, coarse_padding=padding)).eval()  # type: ignore[arg-type]
        with torch.no_grad():
            spread[padding] = float(network.coarse(constant).std(dim=(2, 3, 4)).max())
    assert spread["replicate"] < 1e-5 < spread["zeros"]


@pytest.mark.parametrize(
    "inputs, outputs, kernel, stride, groups, bias",
    [
        (32, 16, (1, 1, 1), (1, 1, 1), 1, True),
        (16, 8, (1, 3, 3), (1, 2, 2), 1, False),
        (1, 8, (3, 3, 3), (1, 1, 1), 1, False),
        (8, 8, (3, 7, 7), (1, 1, 1), 8, False),
        (8, 3, (1, 5, 5), (2, 2, 2), 1, True),
    ],
)
def test_convolutions_for_inference_are_torchs(
    inputs: int, outputs: int, kernel: Triple, stride: Triple, groups: int, bias: bool
) -> None:
    """Against torch's own in float64; and with gradients they are torch's own."""
    torch.manual_seed(0)
    conv = Conv3d(inputs, outputs, kernel, stride, same(kernel), groups=groups, bias=bias)
    x = torch.randn(2, inputs, 5, 9, 8)
    expected = F.conv3d(x.double(), conv.weight.double(), conv.bias.double() if bias else None, stride, same(kernel),
                        groups=groups)  # fmt: skip
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        given = x.contiguous(memory_format=layout)
        with torch.inference_mode():
            found = conv(given)
            half = copy.deepcopy(conv).bfloat16()(given.bfloat16())
        assert found.shape == expected.shape and torch.allclose(found.double(), expected, atol=1e-5)
        assert torch.allclose(half.double(), expected, atol=0.05)
        assert torch.equal(conv(given), torch.nn.Conv3d.forward(conv, given))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_gradients_in_mixed_precision_are_those_of_the_convolution(depth: int) -> None:
    """However few sections a level has; memory holds large numbers before, as gradients were read there."""
    torch.manual_seed(0)
    conv = Conv3d(16, 16, 3, padding=1, bias=False)
    x = torch.randn(1, 16, depth, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    gradients = []
    for mixed in (False, True):
        conv.weight.grad = None
        litter = [torch.full((size,), 1e4) for size in (1_000, 30_000, 1_000_000)]
        del litter
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found = conv(x).float()
        found.square().sum().backward()
        assert conv.weight.grad is not None
        gradients.append(conv.weight.grad.clone())
    assert float((gradients[1] - gradients[0]).norm() / gradients[0].norm()) < 0.02


def test_tiles_of_the_fast_mode_waste_no_window() -> None:
    """Windows at strides 4, 8, 16 and 32 divide the grids of the tile's sections."""
    for name in ("tiny", "small", "base_plus", "large", "nano"):
        tile = 96 if name == "nano" else in_mode(Geometry((16, 256, 256), (8, 128, 128), (0, 0, 0), (40.0, 4.0, 4.0),
                                                          architecture=name), "fast").tile[2]  # fmt: skip
        windows = preset(name).encoder.window_spec
        assert [tile // s % w for s, w in zip((4, 8, 16, 32), windows, strict=True)] == [0, 0, 0, 0], name
