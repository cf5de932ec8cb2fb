"""Halving voxels, against a search over the children of every cell in plain Python."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyramid_tools import halved, mean, mode

from fgnet_pipeline.kernels.downsample import by_mean, by_mode

STEPS = st.tuples(*[st.sampled_from((1, 2))] * 3)
BEGINS = st.tuples(*[st.integers(0, 3)] * 3)
SHAPES = st.tuples(*[st.integers(1, 5)] * 3)


@settings(max_examples=60, deadline=None)
@given(SHAPES, BEGINS, STEPS, st.integers(0, 1 << 30))
@example((5, 5, 5), (1, 1, 1), (2, 2, 2), 0)
def test_labels_are_the_mode_of_their_children(
    shape: tuple[int, ...], begin: tuple[int, int, int], step: tuple[int, int, int], seed: int
) -> None:
    ids = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint64)
    np.testing.assert_array_equal(by_mode(ids, begin, step), halved(ids, begin, step, mode))


@settings(max_examples=20, deadline=None)
@given(SHAPES, BEGINS, STEPS, st.integers(0, 1 << 30))
def test_the_mode_does_not_depend_on_the_numbers(
    shape: tuple[int, ...], begin: tuple[int, int, int], step: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 6, shape).astype(np.uint64)
    names = np.concatenate([[0], np.sort(rng.integers(1, 1 << 62, 5))]).astype(np.uint64)
    np.testing.assert_array_equal(by_mode(names[ids], begin, step), names[by_mode(ids, begin, step)])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "uint64"])
def test_images_are_the_mean_of_their_children_without_overflow(dtype: str) -> None:
    limits = np.iinfo(dtype)
    for step, begin in (((2, 2, 2), (1, 0, 1)), ((1, 2, 2), (0, 1, 0)), ((1, 1, 1), (2, 2, 2))):
        values = np.random.default_rng(0).choice(
            np.array([limits.min, limits.min + 1, limits.max - 1, limits.max, limits.max // 2], dtype), (5, 6, 7)
        )
        found = by_mean(values, begin, step)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, halved(values, begin, step, mean))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_means_of_fractions(dtype: str) -> None:
    values = np.random.default_rng(0).random((4, 4, 4)).astype(dtype)
    found = by_mean(values, (0, 0, 0), (2, 2, 2))
    wanted: npt.NDArray[np.float64] = values.astype(np.float64).reshape(2, 2, 2, 2, 2, 2).mean((1, 3, 5))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.float64), wanted, rtol=4 * float(np.finfo(dtype).eps))


def test_channels_and_truth_values_are_halved_alike() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 6), dtype=np.uint8)
    found = by_mean(values, (0, 1, 0), (2, 2, 2))
    for channel, halves in zip(values, found, strict=True):
        np.testing.assert_array_equal(halves, halved(channel, (0, 1, 0), (2, 2, 2), mean))
    assert by_mean(np.ones((2, 2, 2), bool), (0, 0, 0), (2, 2, 2)).tolist() == [[[True]]]
