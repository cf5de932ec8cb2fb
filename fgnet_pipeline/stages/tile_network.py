"""The network of stage predict as a function of raw tiles, padding replaced, grey values normalised; its versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Vector
from fgnet_pipeline.kernels import cpu_steps
from fgnet_pipeline.kernels.padding import deep_in, filled, padding_of
from fgnet_pipeline.kernels.tiling import Tiling, to_uint8

#: Arithmetic of the predict stage, part of its fingerprint. 1: padding is shown to the network as it is. 2: padding is
#: replaced by mirrored tissue, and affinities deep in padding are 0. 3: as 2, and on a CPU `fgnet.cpu_branch` computes
#: the networks that it can, by torch alone. 4: as 3, with the kernels of `fgnet_pipeline.kernels.cpu_steps`, and on
#: a GPU `fgnet.gpu_layers` computes the refined branch. 5: as 4, and a run of equal values is padding only if it is at
#: least `SHORTEST_RUN` long, however small the margins are; on a GPU, `with_torch.device_blocks` computes whole blocks.
#: A fingerprint that states none is of the first.
IMPLEMENTATION = 5
#: Voxels. With small margins, dark or bright tissue holds runs that are longer than the margins.
SHORTEST_RUN = 25
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


def padding_runs(implementation: int, margin: Vector) -> tuple[int, int] | None:
    """The shortest runs of one value, along y and along x, that an arithmetic takes for padding.

    Args:
        implementation: see `IMPLEMENTATION`.
        margin: voxels, zyx, by which an output of the model is smaller than its tile at each face.

    Returns:
        Voxels; None if padding is not replaced.
    """
    if not fills_padding(implementation):
        return None
    # A run longer than the margins to both sides of a voxel fills all that the model takes into account there.
    y, x = (2 * m + 1 for m in margin[1:])
    return (max(y, SHORTEST_RUN), max(x, SHORTEST_RUN)) if implementation >= 5 else (y, x)


def is_all_padding(implementation: int, margin: Vector) -> bool:
    """Whether an arithmetic takes every voxel for padding, so that all affinities are 0: a fault of numbers 2 to 4.

    Args:
        implementation: see `IMPLEMENTATION`.
        margin: see `padding_runs`.
    """
    return min(padding_runs(implementation, margin) or (2,)) == 1


def arithmetic_of(implementation: int) -> dict[str, Any]:
    """The arguments of `fgnet.load_predictor` by which an arithmetic computes a network.

    Args:
        implementation: see `IMPLEMENTATION`.
    """
    latest = implementation >= 4
    return {"definition": implementation < 3, "kernels": cpu_steps if latest else None, "wide": latest}


def computes_on_device(implementation: int, device: str) -> bool:
    """Whether an arithmetic computes whole blocks on a device of torch's."""
    return implementation >= 5 and device.startswith("cuda")


class TileNetwork:
    """Raw tiles -> affinities.

    Args:
        predict: normalised tiles (B, \\*tile) -> affinities (B, C, \\*output), both float32.
        normalise: raw tiles -> normalised tiles float32.
        margin: voxels, zyx, by which an output is smaller than its tile at each face.
        channels: C.
        runs: voxels along y and along x, see `padding_runs`.
    """

    def __init__(
        self,
        predict: Callable[[Tiles], Tiles],
        normalise: Callable[[npt.NDArray[Any]], Tiles],
        margin: Vector,
        channels: int,
        runs: tuple[int, int] | None,
    ) -> None:
        self.predict, self.normalise = predict, normalise
        self.margin, self.channels, self.runs = margin, channels, runs

    def __call__(self, tiles: npt.NDArray[Any]) -> Tiles:
        """Affinities of tiles.

        Args:
            tiles: raw (B, \\*tile).

        Returns:
            float32 (B, C, \\*output) in [0, 1].
        """
        if self.runs is None:
            return self.predict(self.normalise(tiles))
        return np.stack([self._one(tile, self.runs) for tile in tiles])

    def _one(self, tile: npt.NDArray[Any], runs: tuple[int, int]) -> Tiles:
        padding = padding_of(tile, runs)
        if not padding.any():
            return self.predict(self.normalise(tile[None]))[0]
        deep = deep_in(padding, self.margin)
        if deep.all():
            return np.zeros((self.channels, *deep.shape), np.float32)
        affinities = self.predict(self.normalise(filled(tile, padding)[None]))[0]
        affinities[:, deep] = 0
        return affinities


class HostBlocks:
    """Computes blocks in the memory of the host.

    Args:
        tiling: of the model.
        network: raw tiles -> affinities.
        volume: extent of the volume.
        batch: tiles per call of the network.
    """

    def __init__(self, tiling: Tiling, network: TileNetwork, volume: Box, batch: int) -> None:
        self.tiling, self.network, self.volume, self.batch = tiling, network, volume, batch

    def load(self, raw: npt.NDArray[Any], origin: Vector, box: Box) -> tuple[npt.NDArray[Any], Vector]:
        """Keep what `compute` needs of a block.

        Args:
            raw: (z, y, x), at least what `Tiling.reads` says.
            origin: the voxel of the volume that is the first one of `raw`.
            box: the block.
        """
        return raw, origin

    def compute(self, loaded: tuple[npt.NDArray[Any], Vector], box: Box) -> npt.NDArray[np.uint8]:
        """Affinities uint8 (C, z, y, x) of the block, from what `load` returned."""
        raw, origin = loaded
        channels = self.network.channels
        return to_uint8(self.tiling.predict(raw, origin, self.volume, box, self.network, channels, self.batch))

    def finished(self, computed: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What `compute` returned."""
        return computed
