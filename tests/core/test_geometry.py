"""Boxes, grids and fragment ids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import (
    MAX_BLOCKS_PER_AXIS,
    MAX_FRAGMENTS_PER_BLOCK,
    Box,
    Grid,
    block_of_ids,
    check_ids_fit,
    first_id,
    indices,
    vector,
)

shapes = st.tuples(*[st.integers(1, 40)] * 3)
positions = st.tuples(*[st.integers(0, MAX_BLOCKS_PER_AXIS - 1)] * 3)


@given(shapes, shapes, shapes)
def test_blocks_cover_every_voxel_once(block: tuple, begin: tuple, extent: tuple) -> None:
    roi = Box(begin, vector(np.add(begin, extent)))
    counts = np.zeros(roi.end, int)
    grid = Grid(block)
    for index in indices(grid.covering(roi)):
        part = grid.box(index).intersect(roi)
        assert part, "a block of the cover must touch the region"
        counts[part.slices()] += 1
    assert (counts[roi.slices()] == 1).all()
    assert counts.sum() == roi.size


@given(positions, st.integers(1, MAX_FRAGMENTS_PER_BLOCK))
def test_an_id_tells_its_block_and_is_below_2_63(block: tuple, number: int) -> None:
    fragment = first_id(block) + number
    assert 0 < fragment < 2**63
    assert tuple(block_of_ids(np.array([fragment], np.uint64))[0]) == block


@given(positions, positions)
def test_the_ids_of_a_block_are_one_range(one: tuple, other: tuple) -> None:
    low, high = first_id(one), first_id(one) + MAX_FRAGMENTS_PER_BLOCK
    if one != other:
        assert not low <= first_id(other) + 1 <= high


@given(shapes, shapes, shapes)
def test_intersection_is_what_both_hold(begin: tuple, a: tuple, b: tuple) -> None:
    one = Box((0, 0, 0), vector(np.add(a, 5)))
    other = Box(begin, vector(np.add(begin, b)))
    mask = np.zeros((2, 90, 90, 90), bool)
    mask[(0, *one.slices())] = True
    mask[(1, *other.slices())] = True
    assert one.intersect(other).size == mask.all(0).sum()


@pytest.mark.parametrize("shape, block", [((200_000, 64, 64), (16, 64, 64)), ((1024, 1024, 1024), (600, 600, 600))])
def test_ids_that_could_overflow_are_refused(shape: tuple, block: tuple) -> None:
    with pytest.raises(InputError, match=r"schedule\.fragments\.block_shape"):
        check_ids_fit(shape, block, "schedule.fragments.block_shape")
