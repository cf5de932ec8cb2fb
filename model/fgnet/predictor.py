"""From normalised tiles to affinities, one tile per call of the network: rounding depends on the size of a batch."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.backends import cudnn

from fgnet.errors import ModelError
from fgnet.geometry import Geometry, Triple
from fgnet.guide_cache import GuideCache
from fgnet.network import FGNet, Logits, channels_last
from fgnet.precision import computes_bfloat16
from fgnet.tensors import compare_keys, read_weights
from fgnet.weights import MODES, TOYS, checkpoint_digest, locate, read_geometry, read_network

#: Sections per call of the encoder on a CPU, in float32 and in bfloat16, and the greatest number on a GPU, where
#: starting the kernels of a call costs more than its arithmetic. The first two divide the depth and the z stride of
#: every preset's tile, so that batches are filled up with copies at the faces of a volume only.
CPU_BATCH, BATCH, GPU_BATCH = 4, 8, 32


class Predictor(Protocol):
    """Tiles float32 (B, *geometry.tile), normalised -> affinities float32 (B, C, *geometry.output), 1 = same object."""

    geometry: Geometry

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]: ...


def crop_margin(tiles: NDArray[np.float32], margin: Triple) -> NDArray[np.float32]:
    """Tiles without `margin` voxels (zyx) at each face of their last three axes; a view."""
    z, y, x = (slice(m, n - m) for m, n in zip(margin, tiles.shape[-3:], strict=True))
    return tiles[..., z, y, x]


def check_tiles(tiles: NDArray[np.float32], geometry: Geometry) -> None:
    """Raise ModelError unless `tiles` are (B, *geometry.tile)."""
    if tiles.ndim != 4 or tuple(tiles.shape[1:]) != geometry.tile:
        raise ModelError("tiles", tiles.shape, f"(B, *{geometry.tile})", "cut tiles as the geometry says")


def sections_a_call(geometry: Geometry, device: torch.device, mode: str) -> int:
    """Sections per call of the encoder: on a GPU the greatest number that divides the tile's depth and z stride."""
    if device.type == "cpu":
        return BATCH if mode == "fast" else CPU_BATCH
    common = math.gcd(geometry.tile[0], geometry.stride[0])
    return max(n for n in range(1, GPU_BATCH + 1) if common % n == 0)


class ToyPredictor:
    """`identity`: every channel is raw / 255. `shift`: its mean over 3x3x3 voxels, the tile's edge repeated."""

    def __init__(self, name: str) -> None:
        self.geometry, self.name = TOYS[name], name

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        check_tiles(tiles, self.geometry)
        values = np.clip(tiles * np.float32(0.5) + np.float32(0.5), 0, 1)
        if self.name == "shift":
            padded = F.pad(torch.from_numpy(values)[:, None], (1, 1, 1, 1, 1, 1), mode="replicate")
            values = F.avg_pool3d(padded, 3, stride=1)[:, 0].numpy()
        inner = crop_margin(values, self.geometry.margin)
        return np.repeat(inner[:, None], len(self.geometry.neighbourhood), axis=1)


class NetworkPredictor:
    """An FGNet with its weights, in one of three modes.

    `reference` evaluates both branches and encodes every section of every tile. `exact` evaluates the refined
    branch alone and takes guides of sections seen before from a cache; for the same tile its output is that of
    `reference` but for rounding. `fast` is `exact` in bfloat16 (weights, guides, features) if the device computes
    in it. On a GPU, `reference` and `exact` are float32 throughout: cuDNN's TF32, which torch allows convolutions
    by default, is for `fast` only.
    """

    def __init__(self, network: FGNet, geometry: Geometry, mode: str, device: str, threads: int) -> None:
        """Prepare a network for inference.

        Args:
            network: already on the device.
            geometry: of the mode.
            mode: one of `fgnet.weights.MODES`.
            device: as torch names it.
            threads: of torch in this process.
        """
        torch.set_num_threads(threads)
        self.network, self.geometry, self.mode = network.eval(), geometry, mode
        self.device = torch.device(device)
        if mode == "fast" and computes_bfloat16(self.device):
            self.network = copy.deepcopy(network).bfloat16()
        self.dtype = next(self.network.parameters()).dtype
        self.cache = GuideCache(self.network, batch=sections_a_call(geometry, self.device, mode))

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        check_tiles(tiles, self.geometry)
        return np.concatenate([self._one(tile) for tile in tiles])

    @torch.inference_mode()
    def _one(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=self.mode == "fast"):
            return self._forward(tile)

    def _forward(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        x = torch.from_numpy(np.ascontiguousarray(tile))[None, None].to(self.device)
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last_3d)
        if self.mode == "reference":
            refined = self._both_branches(x).refined
        else:
            refined = self.network.refine(x, self.cache.guides(x, tile))
        probabilities: NDArray[np.float32] = refined.float().sigmoid().contiguous().cpu().numpy()
        return crop_margin(probabilities, self.geometry.margin)

    def _both_branches(self, x: Tensor) -> Logits:
        """What the authors' code evaluates: every section of the tile, the coarse branch and the refined one."""
        guides = self.network.guides(x)
        coarse = self.network.coarse_logits(guides, tuple(x.shape[2:]))
        return Logits(self.network.refine(x, guides), coarse)


def load_network(path: Path) -> FGNet:
    """The network that a safetensors file states, with its weights as float32.

    Raises:
        ModelError: the header states no network, or keys or shapes differ from it.
    """
    network = FGNet(read_network(path))
    weights = read_weights(path)
    compare_keys(weights, network.state_dict(), str(path))
    network.load_state_dict({k: v.float() for k, v in weights.items()})
    return channels_last(network)


def load_predictor(
    checkpoint: str,
    mode: str = "exact",
    device: str = "cpu",
    threads: int = 1,
    expect_sha256: str | None = None,
) -> Predictor:
    """The predictor of a checkpoint.

    Args:
        checkpoint: a path, a shipped name, `identity` or `shift`.
        mode: see `NetworkPredictor`.
        device: as torch names it.
        threads: of torch in this process.
        expect_sha256: what the file's bytes must hash to, in hexadecimal; None checks nothing.

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
    network = load_network(locate(checkpoint)).to(device)
    return NetworkPredictor(network, read_geometry(checkpoint, mode), mode, device, threads)
