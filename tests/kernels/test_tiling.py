"""Tiles and blending: exact with networks whose answer is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_pipeline.core.geometry import Box, Grid, indices, vector, whole
from fgnet_pipeline.kernels.tiling import Tiling, reflect, to_uint8

Array = npt.NDArray[np.float32]
TILING = Tiling(tile=(12, 16, 14), stride=(6, 8, 9), margin=(2, 2, 1))


def identity(tiles: Array) -> Array:
    """The middle of every tile, in one channel."""
    return tiles[:, None, 2:-2, 2:-2, 1:-1]


def position_dependent(tiles: Array) -> Array:
    """A network that answers differently at different places of a tile and depends on the whole tile."""
    inner = identity(tiles)
    ramp = np.linspace(0, 1, inner[0].size, dtype=np.float32).reshape(inner[0].shape)
    return inner * 0.5 + ramp * 0.3 + tiles.mean(axis=(1, 2, 3))[:, None, None, None, None] * 0.2


def predict(raw: Array, box: Box, network, batch: int = 1) -> Array:
    volume = whole(vector(raw.shape))
    reads = TILING.reads(box, volume)
    return TILING.predict(raw[reads.slices()], reads.begin, volume, box, network, 1, batch)


volumes = st.tuples(*[st.integers(1, 33)] * 3)


@settings(max_examples=60, deadline=None)
@given(volumes, st.integers(0, 2**32 - 1))
def test_identity_gives_the_volume_back(shape: tuple, seed: int) -> None:
    raw = np.random.default_rng(seed).random(shape, np.float32)
    assert np.allclose(predict(raw, whole(shape), identity)[0], raw, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(volumes, st.tuples(*[st.integers(3, 40)] * 3), st.integers(1, 3))
def test_blocks_hold_the_same_bits_as_the_whole(shape: tuple, block: tuple, batch: int) -> None:
    raw = np.random.default_rng(sum(shape)).random(shape, np.float32)
    expected = predict(raw, whole(shape), position_dependent)
    grid, found = Grid(block), np.zeros_like(expected)
    for index in indices(grid.covering(whole(shape))):
        box = grid.box(index).intersect(whole(shape))
        found[(slice(None), *box.slices())] = predict(raw, box, position_dependent, batch)
    assert np.array_equal(found, expected)


@given(st.integers(1, 9), st.lists(st.integers(-50, 50), min_size=1))
def test_reflection_is_numpys(length: int, wanted: list[int]) -> None:
    axis = np.arange(length)
    padded = np.pad(axis, 60, mode="reflect")
    assert np.array_equal(axis[reflect(np.array(wanted), length)], padded[np.add(wanted, 60)])


def test_context_reaches_as_far_as_the_tiles_read() -> None:
    volume = whole((400, 400, 400))
    for begin in range(150, 180):
        voxel = Box((begin, begin, begin), (begin + 1, begin + 1, begin + 1))
        reads = TILING.reads(voxel, volume)
        assert voxel.grow(TILING.context, TILING.context).contains(reads)


@pytest.mark.parametrize(
    "value, expected", [(0.0, 0), (1.0, 255), (0.5, 128), (np.nan, 0), (-3.0, 0), (7.0, 255), (np.inf, 255)]
)
def test_to_uint8(value: float, expected: int) -> None:
    assert to_uint8(np.array([value], np.float32))[0] == expected
