"""Define the baseline beside FGNet: a plain 3D affinity U-Net of about 1 MFLOP per voxel.

    python benchmarks/ablation.py --variants unet --data FOLDER --out OUT      # trains it
    python benchmarks/throughput.py --models unet                              # measures its speed

This file measures nothing; those two scripts import it.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from fgnet import Geometry
from fgnet.config import NetworkConfig
from fgnet.network import Logits
from numpy.typing import NDArray
from torch import Tensor, nn


class PlainUNet(nn.Module):
    """Three levels, two 3x3x3 convolutions each: (B, 1, z, y, x) -> logits of three affinities.

    It stands where `fgnet.network.FGNet` does in training: one output, no guides, nothing of `config` but its offsets.
    """

    def __init__(self, config: NetworkConfig, width: int = 48) -> None:
        super().__init__()
        self.config = config
        widths = (width, 2 * width, 4 * width)
        self.down = nn.ModuleList(self.pair(a, b) for a, b in zip((1, *widths), widths, strict=False))
        self.up = nn.ModuleList(self.pair(b + a, a) for a, b in itertools.pairwise(widths))
        self.head = nn.Conv3d(width, len(config.neighbourhood), 1)

    @staticmethod
    def pair(inputs: int, outputs: int) -> nn.Sequential:
        convs = (nn.Conv3d(a, outputs, 3, padding=1) for a in (inputs, outputs))
        return nn.Sequential(*(part for conv in convs for part in (conv, nn.ReLU(inplace=True))))

    def forward(self, x: Tensor) -> Logits:
        skips = []
        for level, pair in enumerate(self.down):
            x = pair(x if level == 0 else nn.functional.max_pool3d(x, 2))
            skips.append(x)
        for level in (1, 0):
            x = torch.cat([skips[level], nn.functional.interpolate(x, scale_factor=2.0)], dim=1)
            x = self.up[level](x)
        return Logits(self.head(x))


class PlainPredictor:
    """Normalised tiles (n, z, y, x) -> affinities (n, C, z, y, x) of their inner part, as FGNet's predictor does."""

    def __init__(self, network: PlainUNet, geometry: Geometry) -> None:
        edges = zip(geometry.margin, geometry.tile, strict=True)
        self.network, self.inner = network, tuple(slice(margin, edge - margin) for margin, edge in edges)

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found = self.network(torch.from_numpy(np.ascontiguousarray(tiles))[:, None]).refined.sigmoid().numpy()
        return np.asarray(found[(..., *self.inner)])
