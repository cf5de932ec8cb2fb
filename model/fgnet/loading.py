"""From the name of a model to the function that predicts. Torch is imported only for models with weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fgnet.errors import ModelError
from fgnet.tiles import Predictor, check_tiles, crop_margin
from fgnet.weights import MODES, TOYS, checkpoint_digest

if TYPE_CHECKING:
    from fgnet.cpu_kernels import Kernels


class ToyPredictor:
    """`identity`: every channel is raw / 255. `shift`: its mean over 3x3x3 voxels, the tile's edge repeated."""

    def __init__(self, name: str) -> None:
        self.geometry, self.name = TOYS[name], name

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        check_tiles(tiles, self.geometry)
        values = np.clip(tiles * np.float32(0.5) + np.float32(0.5), 0, 1)
        if self.name == "shift":
            values = _local_mean(values)
        inner = crop_margin(values, self.geometry.margin)
        return np.repeat(inner[:, None], len(self.geometry.neighbourhood), axis=1)


def _local_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch
    import torch.nn.functional as F

    padded = F.pad(torch.from_numpy(values)[:, None], (1, 1, 1, 1, 1, 1), mode="replicate")
    mean: NDArray[np.float32] = F.avg_pool3d(padded, 3, stride=1)[:, 0].numpy()
    return mean


def load_predictor(
    checkpoint: str,
    mode: str = "exact",
    device: str = "cpu",
    threads: int = 1,
    expect_sha256: str | None = None,
    definition: bool = False,
    kernels: Kernels | None = None,
    wide: bool = True,
) -> Predictor:
    """The predictor of a checkpoint.

    Args:
        checkpoint: a path, a shipped name, `identity` or `shift`.
        mode: see `fgnet.predictor.NetworkPredictor`.
        device: as torch names it.
        threads: of torch in this process.
        expect_sha256: what the file's bytes must hash to, in hexadecimal; None checks nothing.
        definition: whether to compute by `fgnet.network` alone on a CPU, without `fgnet.cpu_branch`: the arithmetic of
            earlier versions, equal but for rounding.
        kernels: compiled functions for `fgnet.cpu_branch`, equal but for rounding; None for torch's.
        wide: whether a GPU computes by `fgnet.gpu_layers`, equal to `fgnet.network` but for rounding.

    Raises:
        ModelError: an unknown mode, no such file, other bytes than expected, or keys or shapes that differ from the
            architecture.
    """
    if mode not in MODES:
        raise ModelError("model.mode", mode, f"one of {MODES}", "choose one of these")
    if expect_sha256 is not None and (found := checkpoint_digest(checkpoint)) != expect_sha256:
        remedy = "the file changed since this run began: put the old one back"
        raise ModelError("model.checkpoint", found, f"the SHA-256 {expect_sha256}", remedy)
    if checkpoint in TOYS:
        return ToyPredictor(checkpoint)
    from fgnet.predictor import load_network_predictor

    return load_network_predictor(checkpoint, mode, device, threads, definition, kernels, wide)
