"""Feature-guided attention: how a level of the fine-grained encoder takes a guide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet.blocks import group_norm, resize, same


class FeatureGuidedAttention(nn.Module):
    """features * a + b with a = Up(sigmoid(GN(conv(guide)))) and b = Up(GN(conv(guide))), conv (1, 3, 3).

    features (B, channels, z, y, x), guide (B, guide_channels, D, h, w). With `pool`, a guide that is finer in z than
    the features is averaged over z first; otherwise the interpolation picks between sections.
    """

    def __init__(self, guide_channels: int, channels: int, groups: int, pool: bool) -> None:
        super().__init__()
        kernel = (1, 3, 3)
        self.pool = pool
        self.channels = channels
        self.scale = nn.Conv3d(guide_channels, channels, kernel, padding=same(kernel), bias=False)
        self.scale_norm = group_norm(channels, groups)
        self.shift = nn.Conv3d(guide_channels, channels, kernel, padding=same(kernel), bias=False)
        self.shift_norm = group_norm(channels, groups)

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        shape = features.shape[2:]
        if self.pool and guide.shape[2] > shape[0]:
            guide = F.adaptive_avg_pool3d(guide, (shape[0], guide.shape[3], guide.shape[4]))
        scale = resize(torch.sigmoid(self.scale_norm(self.scale(guide))), shape)
        shift = resize(self.shift_norm(self.shift(guide)), shape)
        return features * scale + shift


class NoGuidance(nn.Module):
    """Leaves the features as they are."""

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        del guide
        return features


def build_guidance(kind: str, guide_channels: int, channels: int, groups: int, pool: bool) -> nn.Module:
    """The module (features, guide) -> features of one level."""
    if kind == "none":
        return NoGuidance()
    if kind != "fga":
        raise NotImplementedError(kind)
    return FeatureGuidedAttention(guide_channels, channels, groups, pool)
