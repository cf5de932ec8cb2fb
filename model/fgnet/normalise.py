"""From raw grey values to what the network is fed. Plain numpy, free of torch.

The constants are those of a whole volume: take them once from values at fixed positions, store them, and hand the same
two numbers to every worker, so that no tile, block or mask changes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fgnet.errors import ModelError

KINDS = ("robust", "range")


def constants(samples: NDArray[np.generic], kind: str = "robust") -> tuple[float, float]:
    """(shift, scale) for `apply`.

    samples: 1-D raw values at fixed positions, any real dtype. kind "robust": mean and standard deviation of the values
    between the 1st and the 99th percentile, zeros left out since volumes are padded with them; "range": the paper's
    (x/255 - .5)/.5, whatever the samples are. Blank samples give a scale of 1. ModelError on an unknown kind.
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
    """(raw - shift) / scale as float32, of the same shape."""
    result: NDArray[np.float32] = (np.asarray(raw, dtype=np.float32) - np.float32(shift)) / np.float32(scale)
    return result
