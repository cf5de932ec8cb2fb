"""Raw values on the scale of grey that models are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    return np.clip((raw.astype(np.float32) - black) * np.float32(255 / (white - black)), 0, 255)
