"""Rates at faces against planes inside blocks: intervals that hold, and places that stand out."""

from __future__ import annotations

import numpy as np
import pytest

from fgnet_pipeline.views.report.rates import CORRELATED, MORE, Compared, Rate


def rate(hits: list[int], of: list[int] | int) -> Rate:
    return Rate(np.array(hits, np.int64), np.broadcast_to(np.array(of, np.int64), len(hits)))


def test_a_rate_is_a_ratio_of_sums_and_its_error_comes_from_planes() -> None:
    found = rate([1, 0, 5, 0], [10, 0, 10, 20])
    assert found.value == 6 / 40 and found.planes == 3
    residuals = np.array([1 - 1.5, 5 - 1.5, 0 - 3])
    assert found.variance == pytest.approx(3 / 2 * (residuals**2).sum() / 40**2)
    assert np.isnan(rate([], []).value) and np.isnan(rate([3], [5]).variance)


def test_intervals_hold_the_true_difference_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        faces, inside = (rate(rng.binomial(200, rng.beta(8, 2, 20)).tolist(), 200) for _ in range(2))
        low, high = Compared(faces, inside).interval() or (1.0, 0.0)
        held += low <= 0 <= high
    assert 0.92 <= held / 400 <= 0.985


def test_verdicts() -> None:
    calm = rate([80, 82, 79, 81, 78, 80], 100)
    assert Compared(rate([95, 96, 97, 94], 100), calm).verdict() == MORE
    assert Compared(rate([60, 62, 61, 59], 100), calm).verdict() == "fewer at faces"
    assert Compared(rate([80, 79, 83], 100), calm).verdict() == "no difference"
    assert Compared(rate([80], 100), calm).verdict() == "too few planes"
    assert Compared(calm, rate([0, 0], 0)).verdict() == "too few planes"


def test_a_high_rate_everywhere_makes_no_face_stand_out() -> None:
    """On real data 80 % of the facing voxels in membranes lie in one segment, and single planes vary much."""
    rng = np.random.default_rng(1)
    inside = rate(rng.binomial(800, rng.beta(8, 2, 40)).tolist(), 800)
    compared = Compared(inside, inside)
    assert inside.alike > CORRELATED
    assert not any(compared.is_outside(int(hits), 800) for hits in inside.hits)
    assert not compared.is_outside(800, 800)
    few = Compared(inside, rate([8, 12, 9, 10, 11], 1000))
    assert few.is_outside(200, 1000) and not few.is_outside(20, 1000) and not few.is_outside(31, 40)
    assert Compared(inside, rate([0, 0], 0)).is_outside(40, 900)  # nothing inside to compare with
