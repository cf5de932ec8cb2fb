"""Checks of the raw volume and of what is stored of each input, before anything is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.chunk_names import require_stored
from fgnet_pipeline.store.input_identity import sample
from fgnet_pipeline.store.volume import Volume

#: Share of sampled values below 0, with a black level of 0 or more, from which on they count as wrapped.
WRAPPED = 0.001


def check_raw(raw: Volume, config: Config) -> None:
    """Refuse raw values that would not be read rightly.

    Args:
        raw: the opened volume.
        config: whose `volume.range` says which values are black and white.

    Raises:
        InputError: no integers, a range that is missing, or values that a range cannot mean.
    """
    limits = config.volume.range
    if raw.dtype == np.uint8:
        return
    found = f"{raw.path} of type {raw.dtype}"
    if raw.dtype.kind not in "ui":
        expected = "uint8, or other integers with volume.range"
        raise InputError("volume.path", found, expected, "convert it, e.g. with fgnet import --range")
    if limits is None:
        highest = np.iinfo(raw.dtype).max
        raise InputError(
            "volume.range",
            found,
            "the raw values of black and white",
            f"set e.g. volume.range=[0,{min(highest, 65535)}]",
        )
    if raw.dtype.kind == "i":
        _check_signed(raw, limits)


def _check_signed(raw: Volume, limits: tuple[float, float]) -> None:
    """Refuse unsigned values that somebody stored as signed ones: their upper half would read as black."""
    low, high = np.iinfo(raw.dtype).min, np.iinfo(raw.dtype).max
    found = f"{raw.path} of type {raw.dtype}"
    remedy = "convert the volume to an unsigned type (by view, not by cast), or set volume.range to its values"
    if limits[0] < low or limits[1] > high:
        expected = f"values of this type, {low} to {high}"
        raise InputError("volume.range", f"{list(limits)} for {found}", expected, remedy)
    values = sample(raw.shape, raw.read, "volume.path")
    if limits[0] >= 0 and (values < 0).mean() > WRAPPED:
        expected = "no values below 0 if black is 0 or more (unsigned values that are stored as signed ones?)"
        raise InputError(
            "volume.range", f"{list(limits)} for {found}, with values from {values.min()}", expected, remedy
        )


def check_stored(raw: Volume | None, fragments: Volume | None, mask: Volume | None, affinities: Any) -> None:
    """Refuse inputs of which nothing is stored.

    Args:
        raw: None without a raw volume.
        fragments: the lab's own; None without them.
        mask: None without a mask.
        affinities: the lab's own, with `array` and `path`; None without them.

    Raises:
        InputError: none of the chunks of an input can be found.
    """
    if raw is not None:
        require_stored(raw.array, raw.path, "volume.path", "a volume")
    if affinities is not None:
        require_stored(affinities.array, affinities.path, "affinities.path", "affinities")
    if fragments is not None:
        require_stored(fragments.array, fragments.path, "fragments.path", "fragments")
    if mask is not None:
        require_stored(mask.array, mask.path, "volume.mask", "a mask")
