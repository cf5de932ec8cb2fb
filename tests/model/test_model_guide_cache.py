"""Encoder and fusion run once for a section and xy tile, and nobody can tell from the output."""

from __future__ import annotations

import numpy as np
import torch
from fgnet.guide_cache import GuideCache, digests
from fgnet.network import FGNet
from fgnet.predictor import NetworkPredictor
from tiny_network import GEOMETRY


def encoded_sections(network: FGNet) -> list[int]:
    counts: list[int] = []
    network.encoder.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    return counts


def stack(depth: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(depth, 32, 64)).astype(np.float32)


def test_overlapping_tiles_encode_every_section_of_an_xy_tile_once(network: FGNet) -> None:
    counts = encoded_sections(network)
    predictor = NetworkPredictor(network, GEOMETRY, "exact", "cpu", 1)
    plain = NetworkPredictor(network, GEOMETRY, "reference", "cpu", 1)
    volume = stack(64)
    starts = [(z, x) for z in range(0, 33, GEOMETRY.stride[0]) for x in (0, 32)]
    found = [predictor(volume[None, z : z + 32, :, x : x + 32]) for z, x in starts]
    assert sum(counts) == 64 * 2
    for (z, x), one in zip(starts, found, strict=True):
        expected = plain(volume[None, z : z + 32, :, x : x + 32])
        assert np.abs(one - expected).max() < 1 / 255


def test_a_result_does_not_depend_on_what_was_cached(network: FGNet) -> None:
    volume = stack(48)
    warm = NetworkPredictor(network, GEOMETRY, "exact", "cpu", 1)
    for z in (8, 16):
        warm(volume[None, z : z + 32, :, :32])
    cold = NetworkPredictor(network, GEOMETRY, "exact", "cpu", 1)
    tile = volume[None, :32, :, :32]
    assert np.array_equal(warm(tile), cold(tile))


def test_the_cache_stays_within_its_limit(network: FGNet) -> None:
    volume = stack(64)[:, :, :32]

    def look_up(cache: GuideCache, begin: int, end: int) -> list[torch.Tensor]:
        return cache.guides(torch.from_numpy(volume[begin:end])[None, None], digests(volume[begin:end]))

    with torch.inference_mode():
        one = GuideCache(network, limit=0)
        look_up(one, 0, 1)
        size = one.held
        cache = GuideCache(network, limit=20 * size)
        for z in range(0, 64, 8):
            look_up(cache, z, z + 8)
            assert cache.held == 20 * size and len(cache.rows) == min(z + 8, 20)
        tight = GuideCache(network, limit=size)
        guides = look_up(tight, 0, 8)
    assert guides[0].shape == (1, 8, 8, 8, 8) and tight.held == 8 * size


def test_sections_in_any_order_have_their_own_guides(network: FGNet) -> None:
    """Against the network alone, for tiles of changing depth and with as little room as a tile needs."""
    volume, rng = stack(40)[:, :, :32], np.random.default_rng(1)
    with torch.inference_mode():
        cache = GuideCache(network, limit=0, batch=4)
        for _ in range(25):
            places = rng.integers(0, 40, rng.integers(1, 13))
            x = torch.from_numpy(volume[places])[None, None]
            for found, expected in zip(cache.guides(x, places.tolist()), network.guides(x), strict=True):
                assert torch.allclose(found, expected, atol=1e-5)
        assert len(cache.levels[0]) == len(cache.rows) <= 12


def test_mirrored_and_repeated_sections_are_encoded_once(network: FGNet) -> None:
    counts = encoded_sections(network)
    tile = stack(1)[:, :, :32].repeat(5, 0)
    with torch.inference_mode():
        guides = GuideCache(network).guides(torch.from_numpy(tile)[None, None], digests(tile))
    assert sum(counts) == 1 and all(torch.equal(g[:, :, 0], g[:, :, 4]) for g in guides)
