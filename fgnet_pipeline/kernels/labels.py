"""Which voxels of ground truth carry no label. Training, import, scores and pictures all ask this one function.

- 0 is no label.
- Signed types: -1 to -3 are no label; many tools mark ignored voxels by -1. An id below is refused.
- uint64 and uint32: the highest three ids of the type are no label. CREMI marks voxels outside its ground truth by
  2^64-3 to 2^64-1 (bigcat's labels "outside", "invalid" and "transparent"); -1 stored without a sign gives the same.
- uint8 and uint16 have no reserved ids, because masks hold 255 and full volumes of ids may hold 65535.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError

#: How many ids at the end of a type are reserved.
RESERVED = 3


def known_labels(labels: npt.NDArray[np.integer[Any]], field: str, path: str = "") -> npt.NDArray[np.uint64]:
    """The ids of ground truth, 0 wherever a voxel carries no label.

    Args:
        labels: integers of any shape.
        field: the configuration key or option to name in errors.
        path: of the array, to name in errors.

    Returns:
        uint64 of the same shape.

    Raises:
        InputError: an id below -3.
    """
    kind, width = labels.dtype.kind, labels.dtype.itemsize
    if kind == "i":
        lowest = int(labels.min(initial=0))
        if lowest < -RESERVED:
            remedy = "renumber them; -1 to -3 are no label"
            raise InputError(field, f"{path or 'an array'} with id {lowest}", "ids of at least 0", remedy)
        return np.maximum(labels, 0).astype(np.uint64) if lowest < 0 else labels.astype(np.uint64)
    ids = labels.astype(np.uint64)
    if width >= 4:
        ids[ids > np.uint64(2 ** (8 * width) - 1 - RESERVED)] = 0
    return ids
