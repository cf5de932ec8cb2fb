"""Values of a volume at fixed positions: the basis of its normalisation and of its identity."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector, whole
from fgnet_pipeline.store.arrays import READ_ERRORS

#: Cubes under way at once: in an object store each costs a round trip.
READS_AT_ONCE = 8
CUBES_PER_AXIS = 6
CUBE = (8, 32, 32)
#: One read of a volume of up to this many times the voxels of all cubes is cheaper than as many as there are cubes.
WHOLE_WITHIN = 8


def sample(shape: Vector, read: Callable[[Box], npt.NDArray[Any]], field: str) -> npt.NDArray[Any]:
    """The voxels (n,) that ``read`` gives for up to 6 x 6 x 6 cubes of 8 x 32 x 32, spread evenly over it.

    The positions follow from the shape alone, so neither region, mask, block nor worker changes them.
    """
    begins = []
    for length, side in zip(shape, CUBE, strict=True):
        last = max(0, length - side)
        begins.append(sorted({round(last * (i + 0.5) / CUBES_PER_AXIS) for i in range(CUBES_PER_AXIS)}))
    boxes = [Box(vector(b), vector(np.add(b, CUBE))).intersect(whole(shape)) for b in itertools.product(*begins)]
    try:
        if prod(shape) <= WHOLE_WITHIN * CUBES_PER_AXIS**3 * prod(CUBE):
            everything = read(whole(shape))
            return np.concatenate([everything[(..., *box.slices())].ravel() for box in boxes])
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            return np.concatenate([values.ravel() for values in pool.map(read, boxes)])
    except READ_ERRORS as error:
        raise InputError(
            field, f"chunks that cannot be read ({error})", "readable voxels", "check the volume's files and codecs"
        ) from error


def identity(shape: Vector, values: npt.NDArray[Any]) -> dict[str, Any]:
    """What tells one input from another, whatever its path: shape, type and a digest of its :func:`sample`."""
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return {"shape": list(shape), "dtype": str(values.dtype), "samples": digest[:32]}
