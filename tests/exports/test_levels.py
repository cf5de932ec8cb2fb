"""Which axes the levels of a pyramid halve, and how many levels there are."""

from __future__ import annotations

import pytest

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.exports.levels import levels_of
from fgnet_pipeline.store.frame import Frame, Size


def steps(shape: Vector, voxel_size: Size, asked: int | None = None) -> list[Vector]:
    return [level.step for level in levels_of(shape, Frame(voxel_size, (0.0, 0.0, 0.0)), asked)[1:]]


def test_thick_sections_are_halved_last() -> None:
    assert steps((900, 9000, 9000), (40.0, 4.0, 4.0), 6) == [(1, 2, 2)] * 3 + [(2, 2, 2)] * 2
    assert steps((900, 9000, 9000), (30.0, 15.0, 15.0), 3) == [(1, 2, 2), (2, 2, 2)]
    assert steps((900, 9000, 9000), (29.0, 15.0, 15.0), 3) == [(2, 2, 2), (2, 2, 2)]


def test_levels_end_when_every_axis_fits_a_chunk() -> None:
    levels = levels_of((1025, 300, 257), Frame((10.0, 10.0, 10.0), (5.0, 0.0, -10.0)), None)
    shapes = [(257, 75, 65), (129, 38, 33), (65, 19, 17), (33, 10, 9)]
    assert [level.shape for level in levels] == [(1025, 300, 257), (513, 150, 129), *shapes]
    assert levels[-1].factor == (32, 32, 32)
    assert levels[-1].frame(Frame((10.0, 10.0, 10.0), (5.0, 0.0, -10.0))) == Frame((320.0,) * 3, (5.0, 0.0, -10.0))
    assert len(levels_of((64, 1, 64), Frame((10.0, 10.0, 10.0), (0.0, 0.0, 0.0)), None)) == 1


def test_an_axis_of_one_voxel_is_not_halved_and_holds_up_no_other() -> None:
    assert steps((64, 1, 8), (40.0, 4.0, 4.0), 6) == [(1, 1, 2)] * 3 + [(2, 1, 1)] * 2


def test_levels_without_difference_are_refused() -> None:
    with pytest.raises(InputError, match="at most 3 levels"):
        levels_of((3, 4, 2), Frame((10.0, 10.0, 10.0), (0.0, 0.0, 0.0)), 4)
