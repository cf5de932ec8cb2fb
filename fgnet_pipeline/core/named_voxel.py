"""The voxel that a user names by an option `--at`."""

from __future__ import annotations

import math

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector, vector, voxels_from_nm

Size = tuple[float, float, float]
#: End of a position in nanometres.
UNIT = "nm"


def named_voxel(text: str, shape: Vector, frame: tuple[Size, Size] | None = None) -> Vector:
    """The voxel of an option `--at z,y,x`, or `--at z,y,xnm` if a frame is known.

    Args:
        text: of the option.
        shape: of the volume in voxels, zyx.
        frame: offset and voxel size of the volume, nm, zyx; None: nanometres are refused.

    Raises:
        InputError: other text, or a voxel outside the volume.
    """
    expected = f"a voxel z,y,x inside the volume of {list(shape)} voxels"
    if frame is not None and text.strip().endswith(UNIT):
        found = _from_nm(text, frame, expected)
    else:
        found = _from_voxels(text, expected)
    if not all(0 <= v < n for v, n in zip(found, shape, strict=True)):
        hint = "--at takes no nanometres" if frame is None else f"add {UNIT} to a position in nanometres"
        raise InputError("--at", text, expected, f"count voxels from 0; {hint}")
    return vector(found)


def _from_voxels(text: str, expected: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.removeprefix("-").isdecimal() and part.isascii() for part in parts):
        raise InputError("--at", text, expected, "e.g. --at 10,200,300")
    return [int(part) for part in parts]


def _from_nm(text: str, frame: tuple[Size, Size], expected: str) -> list[int]:
    try:
        position = [float(part) for part in text.strip().removesuffix(UNIT).split(",")]
    except ValueError:
        position = []
    if len(position) != 3 or not all(map(math.isfinite, position)):
        raise InputError("--at", text, f"{expected}, or a position in nanometres", f"e.g. --at 100,2000,3000{UNIT}")
    return [int(v) for v in np.floor(voxels_from_nm(position, *frame))]
