"""Colours of sections: grey values, affinities and ids as RGB.

An id has the same colour in every picture and on every machine, since the colour is computed from the id alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.hashing import mix

Rgb = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.integer]


def colours(ids: Ids) -> Rgb:
    """A bright colour for every id, black for 0.

    Args:
        ids: integers of any shape.

    Returns:
        (..., 3) uint8 RGB: hue, saturation and value come from a hash of the id
        (`fgnet_pipeline.core.hashing.mix`).
    """
    distinct, index = np.unique(ids, return_inverse=True)
    h = mix(distinct)
    hue = (h & np.uint64(0xFFFF)).astype(np.float64) / 0x10000
    saturation = 0.55 + 0.45 * ((h >> np.uint64(16)) & np.uint64(0xFF)).astype(np.float64) / 255
    value = 0.7 + 0.3 * ((h >> np.uint64(24)) & np.uint64(0xFF)).astype(np.float64) / 255
    table = _rgb(hue, saturation, value)
    table[distinct == 0] = 0
    return table[index.reshape(np.shape(ids))]


def _rgb(hue: npt.NDArray[np.float64], saturation: npt.NDArray[np.float64], value: npt.NDArray[np.float64]) -> Rgb:
    """HSV in [0, 1] to (n, 3) uint8 (the usual formula, f(k) for k = 5, 3, 1 with k + 6 h modulo 6)."""
    k = (np.array([5.0, 3.0, 1.0]) + 6 * hue[:, None]) % 6
    channel = value[:, None] * (1 - saturation[:, None] * np.clip(np.minimum(k, 4 - k), 0, 1))
    return np.rint(255 * channel).astype(np.uint8)


def boundaries(ids: Ids) -> npt.NDArray[np.bool_]:
    """Lines of one pixel between ids: where the id of a pixel differs from that of the next pixel along y or x.

    Args:
        ids: (y, x) section.

    Returns:
        bool (y, x).
    """
    lines = np.zeros(ids.shape, bool)
    lines[:-1] |= ids[:-1] != ids[1:]
    lines[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    return lines


def grey(raw: npt.NDArray[Any]) -> Rgb:
    """Grey values (y, x), stretched from the 0.5th to the 99.5th percentile, as (y, x, 3) uint8."""
    low, high = np.percentile(raw, [0.5, 99.5])
    stretched = np.clip((raw.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
    return np.repeat(np.rint(255 * stretched).astype(np.uint8)[..., None], 3, axis=-1)


def overlay(raw: npt.NDArray[Any], ids: Ids, opacity: float = 0.45) -> Rgb:
    """Ids in colour over grey values, with thin lines between them; background stays grey.

    Args:
        raw: (y, x) grey values.
        ids: (y, x) fragments, segments or labels.
        opacity: of the colour, in [0, 1]; lines have the full colour of the id.

    Returns:
        (y, x, 3) uint8.
    """
    base, colour = grey(raw).astype(np.float64), colours(ids).astype(np.float64)
    weight = np.where(ids == 0, 0.0, np.where(boundaries(ids), 1.0, opacity))[..., None]
    return np.rint(base * (1 - weight) + colour * weight).astype(np.uint8)


def affinity_colours(affinities: npt.NDArray[np.uint8]) -> Rgb:
    """Affinities (C, y, x) uint8 as RGB (y, x, 3) uint8: z in red, y in green, x in blue; white means one object.

    Channels after the third are left out; if there are fewer than three, the last is repeated.
    """
    channels = [affinities[min(c, len(affinities) - 1)] for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)
