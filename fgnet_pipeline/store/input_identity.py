"""Values of a volume at fixed positions, from which its normalisation and its identity are computed."""

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

#: How many cubes are read at once: in an object store each takes a round trip.
READS_AT_ONCE = 8
CUBES_PER_AXIS = 6
#: Voxels of a cube, zyx.
CUBE = (8, 32, 32)
#: A volume of up to this many times the voxels of all cubes is read at once, which is faster than one read per cube.
WHOLE_WITHIN = 8


def sample(shape: Vector, read: Callable[[Box], npt.NDArray[Any]], field: str) -> npt.NDArray[Any]:
    """The voxels of up to 6 x 6 x 6 cubes of 8 x 32 x 32 voxels, spread evenly over a volume.

    The positions depend on the shape alone, not on region of interest, mask, blocks or workers.

    Args:
        shape: of the volume in voxels, zyx.
        read: gives the voxels of a box, (z, y, x) or (C, z, y, x).
        field: the configuration key to name in errors.

    Returns:
        The values (n,), of the dtype of the volume.

    Raises:
        InputError: chunks cannot be read.
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
    """What tells one input from another, whatever its path: shape, dtype and a digest of its `sample`.

    Args:
        shape: of the volume in voxels, zyx.
        values: its sample (n,).
    """
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return {"shape": list(shape), "dtype": str(values.dtype), "samples": digest[:32]}
