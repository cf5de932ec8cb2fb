"""Define the baseline beside FGNet: a plain 3D affinity U-Net of about 1 MFLOP per voxel.

    python benchmarks/ablation.py --variants unet --data FOLDER --out OUT      # trains it
    python benchmarks/throughput.py --models unet                              # measures its speed

This file measures nothing; those two scripts import it.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from fgnet import Geometry, normalise
from fgnet.config import NetworkConfig
from fgnet.network import Logits
from fgnet.training.checkpoints import load_state
from numpy.typing import NDArray
from torch import Tensor, nn

from fgnet_pipeline.core.geometry import Box, vector, whole
from fgnet_pipeline.kernels.tiling import Tiling, to_uint8


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


def write_affinities(
    state: Path, raw_path: Path, sections: tuple[int, int] | None, path: Path, geometry: Geometry
) -> None:
    """Predict the affinities of a volume, as `affinities.path` takes them.

    Args:
        state: of a training by ablation.py; its averaged weights are taken.
        raw_path: Zarr array uint8 (z, y, x) that states voxel size and offset.
        sections: [begin, end) to predict; None is all. All others are 0.
        path: of the array that is written, of the shape of the whole volume.
        geometry: of the tiles.
    """
    saved = load_state(state)
    network = PlainUNet(NetworkConfig.from_json(saved["architecture"]), saved["average"]["head.weight"].shape[1])
    network.load_state_dict(saved["average"])
    source: Any = zarr.open_array(raw_path, mode="r")
    raw = np.asarray(source[:])
    begin, end = sections or (0, len(raw))
    box = Box((begin, 0, 0), (end, raw.shape[1], raw.shape[2]))
    normalised = normalise.apply(raw, *normalise.constants(raw.ravel()[::37], geometry.normalisation))
    tiling, predictor = Tiling(geometry.tile, geometry.stride, geometry.margin), PlainPredictor(network, geometry)
    found = tiling.predict(normalised, (0, 0, 0), whole(vector(raw.shape)), box, predictor, 3)
    array: Any = zarr.create_array(path, shape=(3, *raw.shape), chunks=(3, 64, 64, 64), dtype="uint8")
    array.attrs.update({key: source.attrs[key] for key in ("voxel_size", "offset", "units")})
    array.attrs.update({"axis_names": ["c^", "z", "y", "x"], "neighbourhood": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]})
    array[:, begin:end] = to_uint8(found)
