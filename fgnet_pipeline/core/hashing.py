"""64-bit hashes of integers as whole arrays: the identity of a million blocks in a few numpy calls.

Not cryptographic: it tells apart configurations of one project, not adversaries.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box

Hashes = npt.NDArray[np.uint64]


def mix(values: npt.ArrayLike) -> Hashes:
    """SplitMix64's finaliser (Steele et al. 2014, doi 10.1145/2660193.2660195), elementwise, modulo 2^64."""
    with np.errstate(over="ignore"):
        z = np.asarray(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def combine(*parts: npt.ArrayLike) -> Hashes:
    """One hash of several integer arrays (broadcast together), order mattering."""
    result: Hashes = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            result = mix(result ^ mix(part))
    return result


def of_document(document: Any) -> int:
    """64-bit hash of a JSON document."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def of_grid(box: Box) -> Hashes:
    """A hash for every integer position of ``box`` (shape of the box), the same in every box that holds it."""
    z, y, x = (np.arange(b, e, dtype=np.int64) for b, e in zip(box.begin, box.end, strict=True))
    return combine(z[:, None, None], y[None, :, None], x[None, None, :])


def box_sums(values: Hashes, low: list[npt.NDArray[np.int64]], high: list[npt.NDArray[np.int64]]) -> Hashes:
    """Sums modulo 2^64 of ``values`` (z, y, x) over boxes [low, high) that are a product of one range per axis.

    ``low[a]`` and ``high[a]`` (n_a,) give the ranges along axis a; the result has shape (n_z, n_y, n_x).
    """
    sums = values
    for axis in range(3):
        shape = list(sums.shape)
        shape[axis] = 1
        with np.errstate(over="ignore"):
            running = np.concatenate([np.zeros(shape, np.uint64), np.cumsum(sums, axis=axis, dtype=np.uint64)], axis)
            sums = np.take(running, high[axis], axis) - np.take(running, low[axis], axis)
    return sums
