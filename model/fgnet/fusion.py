"""From the encoder's maps to guides: a small feature pyramid, section by section."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FusionPyramid(nn.Module):
    """Three maps (N, d_model, y/s, x/s) at s = 4, 8, 16 -> three guides (N, channels, y/s, x/s), finest first.

    A 3x3 convolution per map, then from coarse to fine: guide = (convolved map + Up(coarser guide)) / 2, Up bilinear.
    """

    def __init__(self, d_model: int, channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(d_model, channels, 3, padding=1) for _ in range(3))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        # sam2's neck returns float32 at stride 16, whatever the precision of its weights is.
        dtype = next(self.parameters()).dtype
        guides = [conv(x.to(dtype)) for conv, x in zip(self.lateral, maps, strict=True)]
        for level in (1, 0):
            up = F.interpolate(guides[level + 1], scale_factor=2.0, mode="bilinear", align_corners=False)
            guides[level] = (guides[level] + up) / 2
        return guides
