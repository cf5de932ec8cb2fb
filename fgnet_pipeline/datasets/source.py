"""What every reader gives: a three-dimensional array that is read box by box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector

Size = tuple[float, float, float]


class Source(Protocol):
    """An opened file, folder or URL.

    Attributes:
        path: what the user named, for messages.
        shape: voxels, zyx.
        dtype: of the values as stored.
        voxel_size: nm, zyx; None if the source states none.
        offset: nm, zyx, of the first voxel; None if the source states none.
        by_section: only whole sections can be decoded, so that boxes should span y and x.
    """

    path: str
    shape: Vector
    dtype: np.dtype[Any]
    voxel_size: Size | None
    offset: Size | None
    by_section: bool

    def read(self, box: Box) -> NDArray[Any]:
        """The values (z, y, x) of a box inside the source.

        Raises:
            InputError: they cannot be decoded. OSError: they cannot be read.
        """
        ...


@dataclass(frozen=True)
class Request:
    """What to open.

    Attributes:
        path: file, folder or URL.
        field: the option to name in errors.
        dataset: inside a container (HDF5, N5).
        scale: level of a Neuroglancer volume, 0 = full resolution.
    """

    path: str
    field: str
    dataset: str | None = None
    scale: int = 0


def missing_package(field: str, path: str, package: str) -> InputError:
    """The error of a format whose reader is not installed."""
    remedy = f"pip install {package}, or pip install 'fgnet-pipeline[import]'"
    return InputError(field, path, f"the package {package}, which reads this format", remedy)


def check_three_axes(field: str, path: str, shape: tuple[int, ...]) -> Vector:
    """A shape in voxels, zyx.

    Raises:
        InputError: there are not three axes, or there is no voxel.
    """
    if len(shape) != 3 or 0 in shape:
        raise InputError(field, f"{path} of shape {list(shape)}", "voxels along z, y and x", "extract one grey channel")
    z, y, x = (int(n) for n in shape)
    return z, y, x
