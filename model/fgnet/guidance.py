"""Feature-guided attention (arXiv 2511.13063) and what it was compared with: how a level takes a guide.

Every module here maps features (B, channels, z, y, x) and a guide (B, guide_channels, D, h, w) to features of the same
shape. Arguments that all of them share: `pool`: average a guide that is finer in z than the features over z, instead
of interpolating between its sections. `corners`: see `fgnet.config.NetworkConfig.align_corners`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet.blocks import Conv3d, group_norm, resize, same


def fit_depth(guide: Tensor, depth: int, pool: bool) -> Tensor:
    """The guide (B, C, D, h, w), averaged over z to `depth` sections if `pool` and D is greater."""
    if not pool or guide.shape[2] <= depth:
        return guide
    return F.adaptive_avg_pool3d(guide, (depth, guide.shape[3], guide.shape[4]))


class FeatureGuidedAttention(nn.Module):
    """features * a + b with a = Up(sigmoid(GN(conv(guide)))) and b = Up(GN(conv(guide))), conv (1, 3, 3).

    GN is GroupNorm, Up trilinear interpolation to the shape of the features; a and b have convolutions of their own.
    """

    def __init__(self, guide_channels: int, channels: int, groups: int, pool: bool, corners: bool) -> None:
        super().__init__()
        kernel = (1, 3, 3)
        self.pool, self.corners = pool, corners
        self.channels = channels
        self.scale = Conv3d(guide_channels, channels, kernel, padding=same(kernel), bias=False)
        self.scale_norm = group_norm(channels, groups)
        self.shift = Conv3d(guide_channels, channels, kernel, padding=same(kernel), bias=False)
        self.shift_norm = group_norm(channels, groups)

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        shape = features.shape[2:]
        guide = fit_depth(guide, shape[0], self.pool)
        scale = resize(torch.sigmoid(self.scale_norm(self.scale(guide))), shape, self.corners)
        shift = resize(self.shift_norm(self.shift(guide)), shape, self.corners)
        return features * scale + shift


class NoGuidance(nn.Module):
    """Leaves the features as they are."""

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        del guide
        return features


class AddedGuide(nn.Module):
    """gate(features + Up(GN(conv(guide)))), conv (1, 3, 3): the gate is one of the well-known attentions."""

    def __init__(
        self, guide_channels: int, channels: int, groups: int, pool: bool, corners: bool, gate: nn.Module
    ) -> None:
        super().__init__()
        self.pool, self.corners = pool, corners
        self.project = Conv3d(guide_channels, channels, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.norm = group_norm(channels, groups)
        self.gate = gate

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        guide = fit_depth(guide, features.shape[2], self.pool)
        projected = self.norm(self.project(guide))
        result: Tensor = self.gate(features + resize(projected, features.shape[2:], self.corners))
        return result


class SqueezeExcitation(nn.Module):
    """x * sigmoid(W2 relu(W1 mean(x))) (Hu et al. 2018, arXiv 1709.01507), reduction 8."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.body = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x * self.body(x.mean((2, 3, 4)))[:, :, None, None, None]
        return result


class BlockAttention(nn.Module):
    """CBAM (Woo et al. 2018, arXiv 1807.06521): a channel gate from mean and maximum, then a spatial one, (1, 7, 7)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))
        self.spatial = Conv3d(2, 1, (1, 7, 7), padding=(0, 3, 3), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.channel(x.mean((2, 3, 4))) + self.channel(x.amax((2, 3, 4))))
        x = x * gate[:, :, None, None, None]
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        result: Tensor = x * torch.sigmoid(self.spatial(summary))
        return result


class EfficientChannelAttention(nn.Module):
    """ECA (Wang et al. 2020, arXiv 1910.03151): a 1D convolution of width 3 over the channel means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.conv(x.mean((2, 3, 4))[:, None]))[:, 0]
        return x * gate[:, :, None, None, None]


class CrossAttention(nn.Module):
    """features + multi-head attention of the features (queries) to the guide (keys, values), in windows of one section.

    A window holds at most `window` x `window` guide voxels (a divisor of the section) and the features over them.
    The inner width makes the number of parameters that of `FeatureGuidedAttention`, 2 * 9 g c, for g guide channels and
    c channels: 2 w (g + c) parameters have w = 9 g c / (g + c), rounded to whole heads of `head` channels.
    """

    def __init__(
        self,
        guide_channels: int,
        channels: int,
        groups: int,
        pool: bool,
        corners: bool,
        window: int = 4,
        head: int = 16,
    ) -> None:
        super().__init__()
        self.pool, self.corners, self.window = pool, corners, window
        self.heads = max(1, round(9 * guide_channels * channels / (guide_channels + channels) / head))
        inner = self.heads * head
        self.query = Conv3d(channels, inner, 1, bias=False)
        self.key = Conv3d(guide_channels, inner, 1, bias=False)
        self.value = Conv3d(guide_channels, inner, 1, bias=False)
        self.out = Conv3d(inner, channels, 1, bias=False)
        self.norm, self.guide_norm = group_norm(channels, groups), group_norm(guide_channels, groups)

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        depth = features.shape[2]
        guide = resize(fit_depth(guide, depth, self.pool), (depth, *guide.shape[3:]), self.corners)
        guide = self.guide_norm(guide)
        window = math.gcd(self.window, guide.shape[3], guide.shape[4])
        wide = window * (features.shape[3] // guide.shape[3])
        query = self.windows(self.query(self.norm(features)), wide)
        key, value = (self.windows(f(guide), window) for f in (self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = features + self.out(self.volume(mixed, features.shape, wide))
        return result

    def windows(self, x: Tensor, window: int) -> Tensor:
        """(B, heads * d, z, y, x) -> (B * z * windows, heads, window * window, d)."""
        b, c, z, y, w = x.shape
        x = x.reshape(b, self.heads, c // self.heads, z, y // window, window, w // window, window)
        return x.permute(0, 3, 4, 6, 1, 5, 7, 2).reshape(-1, self.heads, window * window, c // self.heads)

    def volume(self, x: Tensor, shape: torch.Size, window: int) -> Tensor:
        """The inverse of `windows`, to (B, heads * d, z, y, x) with B, z, y, x of `shape`."""
        b, _, z, y, w = shape
        x = x.reshape(b, z, y // window, w // window, self.heads, window, window, -1)
        return x.permute(0, 4, 7, 1, 2, 5, 3, 6).reshape(b, -1, z, y, w)


def build_gate(kind: str, channels: int) -> nn.Module:
    """The gate of `AddedGuide`, for the kind `se`, `cbam` or `eca`."""
    if kind == "se":
        return SqueezeExcitation(channels)
    return BlockAttention(channels) if kind == "cbam" else EfficientChannelAttention()


def build_guidance(kind: str, guide_channels: int, channels: int, groups: int, pool: bool, corners: bool) -> nn.Module:
    """The module of one level.

    Args:
        kind: one of `fgnet.config.GUIDANCE`.
        guide_channels: channels of the guide.
        channels: channels of the features.
        groups: of the norms at most.
        pool: see the module.
        corners: see the module.
    """
    if kind == "none":
        return NoGuidance()
    if kind == "fga":
        return FeatureGuidedAttention(guide_channels, channels, groups, pool, corners)
    if kind == "cross_attention":
        return CrossAttention(guide_channels, channels, groups, pool, corners)
    return AddedGuide(guide_channels, channels, groups, pool, corners, build_gate(kind, channels))
