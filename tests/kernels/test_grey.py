"""Raw values as grey values, exactly, whatever their type."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fgnet_pipeline.kernels.grey import to_grey

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


@pytest.mark.parametrize("dtype", TYPES)
def test_grey_values_are_those_of_exact_fractions(dtype: str) -> None:
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    low, high = (-(2**40), 2**40) if kind.kind == "f" else (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    for _ in range(50):
        # As floats, since the configuration holds floats; a narrow range on a high pedestal is the hard case.
        black = float(int(rng.integers(low, high, dtype=np.int64)) if high < 2**63 else int(rng.integers(0, 2**62)) * 4)
        white = black + float(rng.integers(1, 4000)) * max(1.0, float(np.spacing(abs(black))))
        span = int(white) - int(black)
        values = [int(black) + int(v) for v in rng.integers(-span, 2 * span + 2, 40)]
        raw = np.array([min(max(v, low), high) for v in values]).astype(kind)
        found = to_grey(raw, (black, white))
        assert found.dtype == np.float32
        for value, grey in zip(raw.tolist(), found.tolist(), strict=True):
            exact = (Fraction(value) - Fraction(black)) * 255 / (Fraction(white) - Fraction(black))
            assert abs(float(min(max(exact, Fraction(0)), Fraction(255))) - grey) < 1e-4, (black, white, value)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_grey_values_of_small_integers_keep_every_bit(dtype: str) -> None:
    """Outputs that were begun before go on with the same normalisation and the same affinities."""
    raw: Any = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    for black, white in ((0, 255), (127.3, 8000.7), (100, 101), (0, 65535)):
        expected = np.clip((raw.astype(np.float32) - black) * np.float32(255 / (white - black)), 0, 255)
        assert np.array_equal(to_grey(raw, (black, white)), expected)
    assert np.array_equal(to_grey(raw, None), raw.astype(np.float32))


@pytest.mark.parametrize("dtype", ["u4", "i4", "u8", "i8", "f8"])
def test_a_pedestal_does_not_make_bands(dtype: str) -> None:
    raw = (10**9 + np.arange(256)).astype(dtype)
    assert np.array_equal(np.rint(to_grey(raw, (1e9, 1e9 + 255))), np.arange(256))


def test_limits_beyond_the_type_are_no_error() -> None:
    raw = np.array([-(2**63), 0, 2**63 - 1])
    assert to_grey(raw, (1e30, 2e30)).tolist() == [0, 0, 0]
    assert to_grey(raw, (-2e30, -1e30)).tolist() == [255, 255, 255]
    assert to_grey(raw, (-1e19, 1e19))[1] == pytest.approx(127.5)
