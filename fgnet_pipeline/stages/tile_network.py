"""The network of stage predict as a function of raw tiles: padding replaced, grey values normalised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.kernels import cpu_steps
from fgnet_pipeline.kernels.padding import deep_in, filled, padding_of

#: Arithmetic of the predict stage, part of its fingerprint. 1: padding is shown to the network as it is. 2: padding is
#: replaced by mirrored tissue, and affinities deep in padding are 0. 3: as 2, and on a CPU `fgnet.cpu_branch` computes
#: the networks that it can, by torch alone. 4: as 3, with the kernels of `fgnet_pipeline.kernels.cpu_steps`, and on
#: a GPU `fgnet.gpu_layers` computes the refined branch. A fingerprint that states none is of the first.
IMPLEMENTATION = 4
Tiles = npt.NDArray[np.float32]


def implementation_of(fingerprint: Mapping[str, Any] | None) -> int:
    """The arithmetic by which the affinities of a fingerprint of stage predict are, or will be, made.

    Args:
        fingerprint: stored with the output; None before the first run.

    Returns:
        What the fingerprint states, but no number that is unknown here: of an output begun by a later version, the
        fingerprint then differs, and it is refused.
    """
    if fingerprint is None:
        return IMPLEMENTATION
    return min(int(fingerprint.get("implementation", 1)), IMPLEMENTATION)


def fills_padding(implementation: int) -> bool:
    """Whether an arithmetic replaces padding."""
    return implementation >= 2


def arithmetic_of(implementation: int) -> dict[str, Any]:
    """The arguments of `fgnet.load_predictor` by which an arithmetic computes a network.

    Args:
        implementation: see `IMPLEMENTATION`.
    """
    latest = implementation >= 4
    return {"definition": implementation < 3, "kernels": cpu_steps if latest else None, "wide": latest}


class TileNetwork:
    """Raw tiles -> affinities.

    Args:
        predict: normalised tiles (B, \\*tile) -> affinities (B, C, \\*output), both float32.
        normalise: raw tiles -> normalised tiles float32.
        margin: voxels, zyx, by which an output is smaller than its tile at each face.
        channels: C.
        fill: whether padding is replaced.
    """

    def __init__(
        self,
        predict: Callable[[Tiles], Tiles],
        normalise: Callable[[npt.NDArray[Any]], Tiles],
        margin: Vector,
        channels: int,
        fill: bool,
    ) -> None:
        self.predict, self.normalise = predict, normalise
        self.margin, self.channels, self.fill = margin, channels, fill

    def __call__(self, tiles: npt.NDArray[Any]) -> Tiles:
        """Affinities of tiles.

        Args:
            tiles: raw (B, \\*tile).

        Returns:
            float32 (B, C, \\*output) in [0, 1].
        """
        if not self.fill:
            return self.predict(self.normalise(tiles))
        return np.stack([self._one(tile) for tile in tiles])

    def _one(self, tile: npt.NDArray[Any]) -> Tiles:
        _, y, x = self.margin
        # A run longer than the margins to both sides of a voxel fills all that the model takes into account there.
        padding = padding_of(tile, (2 * y + 1, 2 * x + 1))
        if not padding.any():
            return self.predict(self.normalise(tile[None]))[0]
        deep = deep_in(padding, self.margin)
        if deep.all():
            return np.zeros((self.channels, *deep.shape), np.float32)
        affinities = self.predict(self.normalise(filled(tile, padding)[None]))[0]
        affinities[:, deep] = 0
        return affinities
