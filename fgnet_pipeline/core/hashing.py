"""64-bit hashes of integer arrays, from which the keys of blocks are computed.

Every function works on whole arrays, so that the keys of a million blocks take a few numpy calls. The hashes tell apart
the configurations of one project. They are not cryptographic: they do not resist an attack.
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
    """Hash every element, modulo 2^64.

    This is one step of SplitMix64 (Steele et al. 2014, doi 10.1145/2660193.2660195): add the increment, then apply the
    finaliser, here with the constants of its variant 13.

    Args:
        values: integers of any shape.

    Returns:
        uint64 of the same shape.
    """
    with np.errstate(over="ignore"):
        z = np.asarray(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def combine(*parts: npt.ArrayLike) -> Hashes:
    """Hash several integer arrays into one; their order matters.

    Args:
        *parts: arrays that can be broadcast together.

    Returns:
        uint64 of the common shape.
    """
    result: Hashes = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            result = mix(result ^ mix(part))
    return result


def of_document(document: Any) -> int:
    """Hash a JSON document to 64 bits: the first 8 bytes of the SHA-256 of its text with sorted keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def of_grid(box: Box) -> Hashes:
    """Hash every integer position of `box`. A position has the same hash in every box that holds it.

    Returns:
        uint64 of the shape of `box`.
    """
    z, y, x = (np.arange(b, e, dtype=np.int64) for b, e in zip(box.begin, box.end, strict=True))
    return combine(z[:, None, None], y[None, :, None], x[None, None, :])


def box_sums(values: Hashes, low: list[npt.NDArray[np.int64]], high: list[npt.NDArray[np.int64]]) -> Hashes:
    """Sum an array over many boxes, modulo 2^64.

    Along each axis a number of ranges `[low, high)` is given. Every combination of one range per axis is one box.

    Args:
        values: uint64 (z, y, x).
        low: per axis a the begins of its ranges, int64 (n_a,).
        high: per axis a the ends of its ranges, int64 (n_a,), none below its begin.

    Returns:
        The sums, uint64 (n_z, n_y, n_x).
    """
    sums = values
    for axis in range(3):
        shape = list(sums.shape)
        shape[axis] = 1
        with np.errstate(over="ignore"):
            running = np.concatenate([np.zeros(shape, np.uint64), np.cumsum(sums, axis=axis, dtype=np.uint64)], axis)
            sums = np.take(running, high[axis], axis) - np.take(running, low[axis], axis)
    return sums
