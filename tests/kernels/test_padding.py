"""Padding is found, replaced and left out, against brute force and against what a volume of its own sees."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fgnet_pipeline.kernels.padding import (
    SAMPLED_RUN,
    VOID,
    deep_in,
    filled,
    in_runs,
    padding_of,
    void_of,
    without_padding,
)
from fgnet_pipeline.kernels.tiling import reflect

SHAPE = (7, 24, 30)


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> NDArray[np.uint8]:
    """Values of which neighbours differ."""
    values = np.random.default_rng(seed).integers(2, 254, shape)
    return (values // 2 * 2 + np.indices(shape).sum(axis=0) % 2).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shortest", [1, 2, 5])
def test_runs_are_those_of_a_loop(seed: int, shortest: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2, (3, 4, 17))
    expected = np.zeros(values.shape, bool)
    for row, marks in zip(values.reshape(-1, 17), expected.reshape(-1, 17), strict=True):
        at = 0
        for _, equal in itertools.groupby(row):
            length = len(list(equal))
            marks[at : at + length] = length >= shortest
            at += length
    assert (in_runs(values, shortest) == expected).all()


@pytest.mark.parametrize("shortest", [1, 2, 3, 8, 9])
def test_the_shortest_run_is_found_wherever_it_begins(shortest: int) -> None:
    for axis, begin in itertools.product((1, 2), range(24 - shortest + 1)):
        raw = noise()
        place: list[Any] = [3, 5, 5]
        place[axis] = slice(begin, begin + shortest)
        raw[tuple(place)] = 255
        expected = raw == 255
        found = padding_of(raw, (shortest, shortest))
        assert found[expected].all() and (shortest <= 2 or found.sum() == shortest)


def test_values_that_are_nan_form_no_run() -> None:
    assert not in_runs(np.full((2, 9), np.nan), 2).any()


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("thickness", [1, 3])
def test_a_slab_of_any_value_and_thickness_is_found(value: int, axis: int, thickness: int) -> None:
    raw, expected = noise(), np.zeros(SHAPE, bool)
    place: list[Any] = [slice(None)] * 3
    place[axis] = slice(2, 2 + thickness)
    expected[tuple(place)] = True
    raw[expected] = value
    found = padding_of(raw, (9, 9))
    assert found[expected].all() and found.sum() - expected.sum() <= 4, "at most a voxel of the same value beside it"


def test_an_object_that_is_smaller_than_the_run_is_none() -> None:
    raw = noise()
    raw[:, 4:12, 4:12] = 255
    assert not padding_of(raw, (10, 10)).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize("left", [2, 3, 6])
def test_beside_a_face_padding_becomes_what_a_volume_of_its_own_sees(axis: int, high: bool, left: int) -> None:
    """`left` voxels of tissue are mirrored as `Tiling` mirrors a volume of `left` voxels, up to four times."""
    raw = noise()
    place: list[Any] = [slice(None)] * 3
    length = min(SHAPE[axis], 4 * (left - 1))
    raw = raw[tuple(slice(0, length) if a == axis else slice(None) for a in range(3))]
    place[axis] = slice(0, length - left) if high else slice(left, length)
    padding = np.zeros(raw.shape, bool)
    padding[tuple(place)] = True
    begin = length - left if high else 0
    source = begin + reflect(np.arange(length) - begin, left)
    assert (filled(raw, padding) == np.take(raw, source, axis)).all()


@pytest.mark.parametrize("seed", range(4))
def test_tissue_stays_and_padding_takes_values_of_tissue(seed: int) -> None:
    raw = noise(seed=seed)
    padding = np.random.default_rng(seed).random(SHAPE) < 0.7
    raw[padding] = 0
    result = filled(raw, padding)
    assert (result[~padding] == raw[~padding]).all() and result.all(), "no 0 is left"


def test_one_voxel_of_tissue_fills_everything() -> None:
    padding = np.ones(SHAPE, bool)
    padding[3, 20, 1] = False
    raw = noise()
    assert (filled(raw, padding) == raw[3, 20, 1]).all()


def test_a_lost_section_becomes_a_neighbouring_one() -> None:
    raw = noise()
    lost = raw.copy()
    lost[3] = 255
    result = filled(lost, padding_of(lost, (9, 9)))
    assert any((result[3] == raw[k]).all() for k in (1, 5)), "the section mirrored at the nearest one"
    assert (np.delete(result, 3, 0) == np.delete(raw, 3, 0)).all()


@pytest.mark.parametrize("margin", [(0, 0, 0), (1, 2, 3), (2, 0, 1)])
def test_deep_is_where_no_tissue_lies_within_the_margin(margin: tuple[int, int, int]) -> None:
    padding = np.random.default_rng(1).random((9, 11, 12)) < 0.97
    found = deep_in(padding, margin)
    assert found.shape == tuple(n - 2 * m for n, m in zip(padding.shape, margin, strict=True))
    for at in np.ndindex(found.shape):
        window = tuple(slice(i, i + 2 * m + 1) for i, m in zip(at, margin, strict=True))
        assert found[at] == padding[window].all()


@pytest.mark.parametrize("value", [0, 17, 255])
def test_samples_lose_the_value_of_padding_and_nothing_else(value: int) -> None:
    tissue = np.random.default_rng(2).integers(20, 200, 5000).astype(np.uint8)
    assert (without_padding(tissue) == tissue).all()
    padded = np.concatenate([tissue[:2000], np.full(SAMPLED_RUN, value, np.uint8), tissue[2000:]])
    assert (without_padding(padded) == tissue[tissue != value]).all()


def test_samples_of_nothing_but_padding_stay() -> None:
    constant = np.full(100, 7)
    assert (without_padding(constant) == constant).all()


@pytest.mark.parametrize("seed", range(4))
def test_void_is_every_box_without_affinity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    affinities = rng.integers(0, 256, (3, 16, 30, 31)).astype(np.uint8)
    for _ in range(5):
        begin = [rng.integers(0, n - 4) for n in affinities.shape[1:]]
        affinities[(slice(None), *(slice(b, b + rng.integers(3, 18)) for b in begin))] = 0
    nothing, expected = (affinities == 0).all(axis=0), np.zeros(affinities.shape[1:], bool)
    for at in np.ndindex(*(n + s for n, s in zip(nothing.shape, VOID, strict=True))):
        # A box may reach beyond the array: the block's context ends there, and padding goes on.
        box = tuple(slice(max(0, a - s + 1), a + 1) for a, s in zip(at, VOID, strict=True))
        if nothing[box].size and nothing[box].all() and centre_inside(at, nothing.shape):
            expected[box] = True
    assert (void_of(affinities) == expected).all()


def centre_inside(end: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether the middle voxel of the box that ends with voxel `end` lies in the array."""
    return all(0 <= e - s // 2 < n for e, s, n in zip(end, VOID, shape, strict=True))
