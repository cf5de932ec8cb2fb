"""From normalised tiles to affinities, one tile per call of the network: rounding depends on the size of a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.backends import cudnn

from fgnet.cpu_branch import CpuBranch, computes
from fgnet.cpu_kernels import Kernels, KernelSteps
from fgnet.cpu_steps import Steps, TorchSteps
from fgnet.geometry import Geometry
from fgnet.gpu_layers import for_gpu
from fgnet.guide_cache import GuideCache, digests
from fgnet.network import FGNet, Logits, channels_last
from fgnet.precision import computes_bfloat16
from fgnet.tensors import compare_keys, read_weights
from fgnet.tiles import check_tiles, crop_margin
from fgnet.weights import locate, read_geometry, read_network

#: Sections per call of the encoder on a CPU, in float32 and in bfloat16, and the greatest number on a GPU, where
#: starting the kernels of a call costs more than its arithmetic. The first two divide the depth and the z stride of
#: every preset's tile, so that batches are filled up with copies at the faces of a volume only. The third number also
#: holds for networks that `fgnet.cpu_branch` computes, whose encoders are small.
CPU_BATCH, BATCH, GPU_BATCH = 4, 8, 32
TORCH_STEPS = TorchSteps()


def sections_a_call(geometry: Geometry, device: torch.device, mode: str, branch: bool = False) -> int:
    """Sections per call of the encoder; if many, the greatest number that divides the tile's depth and z stride.

    Args:
        geometry: of the mode.
        device: of the network.
        mode: one of `fgnet.weights.MODES`.
        branch: whether `fgnet.cpu_branch` computes the network.
    """
    if device.type == "cpu" and not branch:
        return BATCH if mode == "fast" else CPU_BATCH
    common = math.gcd(geometry.tile[0], geometry.stride[0])
    greatest = max(n for n in range(1, GPU_BATCH + 1) if common % n == 0)
    return max(greatest, CPU_BATCH) if branch else greatest


class NetworkPredictor:
    """An FGNet with its weights, in one of three modes.

    `reference` evaluates both branches and encodes every section of every tile. `exact` evaluates the refined
    branch alone and takes guides of sections seen before from a cache; for the same tile its output is that of
    `reference` but for rounding. `fast` is `exact` in bfloat16 (weights, guides, features) if the device computes
    in it. On a GPU, `reference` and `exact` are float32 throughout: cuDNN's TF32, which torch allows convolutions
    by default, is for `fast` only. On a CPU, float32 networks of the kind of `nano` have their refined branch computed
    by `fgnet.cpu_branch`, in `exact` and `fast`. On a GPU these two modes use the layers of `fgnet.gpu_layers`.
    """

    def __init__(
        self,
        network: FGNet,
        geometry: Geometry,
        mode: str,
        device: str,
        threads: int,
        steps: Steps | None = TORCH_STEPS,
        wide: bool = True,
    ) -> None:
        """Prepare a network for inference.

        Args:
            network: already on the device.
            geometry: of the mode.
            mode: one of `fgnet.weights.MODES`.
            device: as torch names it.
            threads: of torch in this process.
            steps: of `fgnet.cpu_branch`; None to compute by `fgnet.network` alone, on a CPU, too.
            wide: whether a GPU computes `exact` and `fast` by `fgnet.gpu_layers`.
        """
        torch.set_num_threads(threads)
        self.network, self.geometry, self.mode = network.eval(), geometry, mode
        self.device = torch.device(device)
        if mode == "fast" and computes_bfloat16(self.device):
            self.network = copy.deepcopy(network).bfloat16()
        self.dtype = next(self.network.parameters()).dtype
        self.branch = None if steps is None else self._cpu_branch(steps)
        batch = sections_a_call(geometry, self.device, mode, self.branch is not None)
        self.cache = GuideCache(self.network, batch=batch)
        is_wide = wide and mode != "reference" and self.device.type == "cuda"
        self.refining = for_gpu(self.network) if is_wide else self.network

    def _cpu_branch(self, steps: Steps) -> CpuBranch | None:
        plain = self.mode != "reference" and self.device.type == "cpu" and self.dtype == torch.float32
        if not plain or not computes(self.network.config, self.geometry):
            return None
        return CpuBranch(self.network, self.geometry.margin, steps)

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        check_tiles(tiles, self.geometry)
        return np.concatenate([self._one(np.ascontiguousarray(tile)) for tile in tiles])

    def _one(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.on_device(torch.from_numpy(tile).to(self.device), digests(tile)).cpu().numpy()
        return found[None]

    @torch.inference_mode()
    def on_device(self, tile: Tensor, keys: Sequence[Hashable]) -> Tensor:
        """Affinities of one tile, without a copy between host and device.

        Args:
            tile: float32 (z, y, x), normalised, on the device of the network.
            keys: one per section, see `fgnet.guide_cache`.

        Returns:
            float32 (C, *geometry.output) on the same device.
        """
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=self.mode == "fast"):
            return self._forward(tile[None, None], keys)

    def _forward(self, x: Tensor, keys: Sequence[Hashable]) -> Tensor:
        if self.branch is not None:
            return self.branch(x, self.cache.guides(x, keys))
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last_3d)
        if self.mode == "reference":
            refined = self._both_branches(x).refined[0]
        else:
            refined = self.refining.refine(x, self.cache.guides(x, keys))[0]
        # Less to compute if cropped first; but on a CPU the last bit of a sigmoid depends on what lies beside it.
        if self.device.type != "cpu":
            return crop_margin(refined, self.geometry.margin).float().sigmoid().contiguous()
        return crop_margin(refined.float().sigmoid().contiguous(), self.geometry.margin)

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


def load_network_predictor(
    checkpoint: str,
    mode: str,
    device: str,
    threads: int,
    definition: bool = False,
    kernels: Kernels | None = None,
    wide: bool = True,
) -> NetworkPredictor:
    """The predictor of a checkpoint with weights; see `fgnet.loading.load_predictor`.

    Args:
        checkpoint: a path or a shipped name.
        mode: see `NetworkPredictor`.
        device: as torch names it.
        threads: of torch in this process.
        definition: see `fgnet.loading.load_predictor`.
        kernels: see `fgnet.loading.load_predictor`.
        wide: see `NetworkPredictor`.

    Raises:
        ModelError: no such file, or keys or shapes that differ from the architecture.
    """
    network = load_network(locate(checkpoint)).to(device)
    steps = TORCH_STEPS if kernels is None else KernelSteps(kernels)
    geometry = read_geometry(checkpoint, mode)
    return NetworkPredictor(network, geometry, mode, device, threads, None if definition else steps, wide)
