"""Normalisation of raw grey values for a network, in numpy.

The constants are those of a whole volume: they are taken once from values at fixed positions and stored, and every
worker uses the same two numbers, so that no tile, block or mask changes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fgnet.errors import ModelError

KINDS = ("robust", "range")


def constants(samples: NDArray[np.generic], kind: str = "robust") -> tuple[float, float]:
    """(shift, scale) for `apply`.

    Args:
        samples: raw values at fixed positions, any real dtype.
        kind: `robust`: mean and standard deviation of the values between the 1st and the 99th percentile. Zeros are
            left out, because volumes are padded with them, and so are nan and infinity. `range`: the paper's
            (x / 255 - .5) / .5, whatever the samples are.

    Returns:
        In raw units. The scale is 1 if all samples are equal; (0, 1) if no sample is left.

    Raises:
        ModelError: an unknown kind.
    """
    if kind == "range":
        return 127.5, 127.5
    if kind != "robust":
        raise ModelError("normalisation", kind, f"one of {KINDS}", "choose one of these")
    values = np.asarray(samples, dtype=np.float64).ravel()
    values = values[np.isfinite(values) & (values != 0)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99))
    inner = values[(values >= low) & (values <= high)]
    deviation = float(inner.std())
    return float(inner.mean()), deviation if deviation > 1e-6 else 1.0


def apply(raw: NDArray[np.generic], shift: float, scale: float) -> NDArray[np.float32]:
    """Normalised values.

    Args:
        raw: any shape and real dtype.
        shift: in raw units.
        scale: in raw units.

    Returns:
        (raw - shift) / scale, float32 of the same shape, computed in float32.
    """
    result: NDArray[np.float32] = (np.asarray(raw, dtype=np.float32) - np.float32(shift)) / np.float32(scale)
    return result
