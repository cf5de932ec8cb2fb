"""The offsets of the channels of affinities, as attributes of an array or the option of a command state them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector, vector

#: Attributes that may state the offsets.
OFFSET_ATTRIBUTES = ("neighbourhood", "neighborhood", "offsets")
#: More offsets than this are no neighbourhood, but an axis of space that is taken for the channels.
_MOST = 256


def stated_offsets(attributes: Mapping[str, Any], field: str, path: str, remedy: str) -> list[Vector] | None:
    """The offset of each channel, zyx; None if no attribute states them.

    Args:
        attributes: of the array.
        field: the configuration key or option to name in errors.
        path: of the array, for errors.
        remedy: for errors.

    Raises:
        InputError: attributes contradict each other, or hold something else than offsets.
    """
    given = {name: attributes[name] for name in OFFSET_ATTRIBUTES if attributes.get(name) is not None}
    found = [parse_offsets(value, field, f"{path} with {name} {value}", remedy) for name, value in given.items()]
    if any(offsets != found[0] for offsets in found):
        raise InputError(field, f"{path} with {given}", "attributes that agree", remedy)
    return found[0] if found else None


def parse_offsets(value: Any, field: str, what: str, remedy: str) -> list[Vector]:
    """Offsets from an attribute or from the text of an option.

    Args:
        value: a list or an array of three whole numbers per channel, or the same as JSON.
        field: to name in errors.
        what: the value and what states it, for errors.
        remedy: for errors.

    Raises:
        InputError: other values, or an offset of 0.
    """
    expected = "three whole numbers z,y,x per channel, such as [[-1,0,0],[0,-1,0],[0,0,-1]]"
    refusal = InputError(field, what, expected, remedy)
    try:
        listed = json.loads(value) if isinstance(value, str | bytes) else value
        offsets = np.asarray(listed, np.float64)
    except (TypeError, ValueError) as error:
        raise refusal from error
    if offsets.ndim != 2 or offsets.shape[1:] != (3,) or not 0 < len(offsets) <= _MOST:
        raise refusal
    if not (offsets == np.rint(offsets)).all() or not offsets.any(axis=1).all():
        raise refusal
    return [vector(offset) for offset in offsets]
