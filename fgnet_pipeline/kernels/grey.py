"""Raw values on the scale of grey that models are trained on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Percentiles of tissue that are proposed as black and white.
BLACK, WHITE = 0.5, 99.5


def to_grey(raw: NDArray[Any], limits: tuple[float, float] | None) -> NDArray[np.float32]:
    """Raw values as grey values.

    Args:
        raw: any shape, any real dtype.
        limits: the raw values that become 0 (black) and 255 (white), black < white; None takes the values as they are.

    Returns:
        float32 of the same shape; with limits 0 to 255, values outside of them clipped.
    """
    if limits is None:
        return raw.astype(np.float32)
    black, white = limits
    return np.clip(_above(raw, black, white) * np.float32(255 / (white - black)), 0, 255)


def _above(raw: NDArray[Any], black: float, white: float) -> NDArray[np.float32]:
    """`raw - black` as float32. Numbers that float32 cannot hold are subtracted before they are rounded to it.

    Above 2^24 float32 holds no odd numbers, and float64 none above 2^53. So integers of 64 bits are subtracted as
    integers, after they were clipped to the limits.
    """
    if raw.dtype.itemsize <= 2 or (raw.dtype == np.float32 and float(np.float32(black)) == black):
        return raw.astype(np.float32) - np.float32(black)
    if raw.dtype.kind == "f" or raw.dtype.itemsize < 8:
        return (raw.astype(np.float64) - black).astype(np.float32)
    lowest, highest = np.iinfo(raw.dtype).min, np.iinfo(raw.dtype).max
    low = min(max(math.floor(black), lowest), highest)
    high = min(max(math.ceil(white), lowest), highest)
    # Unsigned numbers wrap around, so the difference of two signed ones is right even if it needs all 64 bits.
    above = np.clip(raw, low, high).astype(np.uint64) - np.uint64(low % 2**64)
    return (above.astype(np.float64) + (low - black)).astype(np.float32)
