"""Tiles as every predictor takes and gives them. Importing this module does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fgnet.errors import ModelError
from fgnet.geometry import Geometry, Triple

if TYPE_CHECKING:
    from torch import Tensor

Voxels = TypeVar("Voxels", NDArray[np.float32], "Tensor")


class Predictor(Protocol):
    """Tiles float32 (B, *geometry.tile), normalised -> affinities float32 (B, C, *geometry.output), 1 = same object."""

    geometry: Geometry

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]: ...


def crop_margin(tiles: Voxels, margin: Triple) -> Voxels:
    """Tiles without `margin` voxels (zyx) at each face of their last three axes; a view."""
    z, y, x = (slice(m, n - m) for m, n in zip(margin, tiles.shape[-3:], strict=True))
    kept: Voxels = tiles[..., z, y, x]
    return kept


def check_tiles(tiles: NDArray[np.float32], geometry: Geometry) -> None:
    """Raise ModelError unless `tiles` are (B, *geometry.tile)."""
    if tiles.ndim != 4 or tuple(tiles.shape[1:]) != geometry.tile:
        raise ModelError("tiles", tiles.shape, f"(B, *{geometry.tile})", "cut tiles as the geometry says")
