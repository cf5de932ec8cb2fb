"""Coordinate transformations of OME-Zarr, as one scale and one translation per axis.

Read are `identity`, `scale`, `translation`, `sequence`, and `affine` without rotation or shear, of the versions 0.4 to
0.6 (https://ngff.openmicroscopy.org). All others are refused, and so is a transformation whose numbers are in an array
of their own (`path`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt


class TransformError(ValueError):
    """A transformation that cannot be read; the message says why."""


@dataclass(frozen=True)
class Transform:
    """Position = scale * index + shift.

    Attributes:
        scale: per stored axis; units are those of the axes.
        shift: per stored axis.
        has_scale: whether a scale was stated. If not, the scale is 1, and nothing is known of the voxel size.
    """

    scale: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    has_scale: bool = False

    def then(self, other: Transform) -> Transform:
        """This transformation followed by another one."""
        return Transform(
            self.scale * other.scale, self.shift * other.scale + other.shift, self.has_scale or other.has_scale
        )


def identity(ndim: int) -> Transform:
    """The transformation that changes nothing."""
    return Transform(np.ones(ndim), np.zeros(ndim))


def composed(transformations: object, ndim: int) -> Transform:
    """A list of transformations, one after the other.

    Args:
        transformations: as metadata state them; None for none.
        ndim: number of axes.

    Raises:
        TransformError: one of them cannot be read.
    """
    if transformations is None:
        transformations = []
    if not isinstance(transformations, list):
        raise TransformError(f"coordinateTransformations {_short(transformations)}, which are no list")
    total = identity(ndim)
    for transformation in transformations:
        total = total.then(_one(transformation, ndim))
    return total


def _one(transformation: object, ndim: int) -> Transform:
    if not isinstance(transformation, dict):
        raise TransformError(f"a transformation {_short(transformation)}, which is no object")
    kind = transformation.get("type")
    if kind == "sequence":
        return composed(_required(transformation, "transformations"), ndim)
    if kind == "identity":
        return identity(ndim)
    if "path" in transformation:
        raise TransformError(f"a {kind} whose numbers are in an array of their own")
    if kind == "scale":
        return replace(identity(ndim), scale=_vector(_required(transformation, "scale"), ndim), has_scale=True)
    if kind == "translation":
        return replace(identity(ndim), shift=_vector(_required(transformation, "translation"), ndim))
    if kind == "affine":
        return _diagonal(_required(transformation, "affine"), ndim)
    raise TransformError(f"a transformation of the type {_short(kind)}")


def _required(transformation: dict[str, Any], key: str) -> Any:
    if transformation.get(key) is None:
        raise TransformError(f"a transformation {_short(transformation)} without {key}")
    return transformation[key]


def _vector(values: object, length: int) -> npt.NDArray[np.float64]:
    fits = isinstance(values, list) and len(values) == length
    if not fits or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):  # type: ignore[attr-defined]
        raise TransformError(f"numbers {_short(values)} in a transformation of {length} axes")
    try:
        numbers = [float(v) for v in values]  # type: ignore[attr-defined]
    except OverflowError as error:
        raise TransformError(f"numbers {_short(values)} in a transformation") from error
    if not all(map(math.isfinite, numbers)):
        raise TransformError(f"numbers {_short(values)} in a transformation")
    return np.asarray(numbers)


def _diagonal(rows: object, ndim: int) -> Transform:
    """An affine matrix of `ndim` rows and one column more, or with the last row 0 ... 0 1; no rotation, no shear."""
    if not isinstance(rows, list) or len(rows) not in (ndim, ndim + 1):
        raise TransformError(f"an affine {_short(rows)}, which has not {ndim} rows")
    matrix = np.asarray([_vector(row, ndim + 1) for row in rows])
    if len(rows) == ndim + 1 and matrix[-1].tolist() != [0.0] * ndim + [1.0]:
        raise TransformError(f"an affine whose last row is {matrix[-1].tolist()}")
    square = matrix[:ndim, :ndim]
    if (square != np.diag(np.diag(square))).any():
        raise TransformError("an affine with rotation or shear")
    return Transform(np.diag(square).copy(), matrix[:ndim, ndim].copy(), has_scale=True)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
