"""Smoothing, and smooth random fields, over (z, y, x) tensors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet.training.chance import Chance

#: Standard deviations, in voxels, below which a blur changes nothing that can be seen.
SMALLEST_SIGMA = 0.05


def gaussian_blur(raw: Tensor, sigmas: tuple[float, float, float]) -> Tensor:
    """Separable Gaussian blur; the voxels at the border are repeated beyond it.

    Args:
        raw: float32 (z, y, x).
        sigmas: standard deviations in voxels, zyx; below `SMALLEST_SIGMA` an axis is not blurred.

    Returns:
        float32 of the same shape.
    """
    x = raw[None, None]
    for axis, sigma in enumerate(sigmas):
        if sigma < SMALLEST_SIGMA:
            continue
        radius = max(1, math.ceil(2.5 * sigma))
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
        shape, padding = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = -1
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        x = F.conv3d(F.pad(x, padding, mode="replicate"), (taps / taps.sum()).view(shape))
    return x[0, 0]


def smooth_field(shape: torch.Size, chance: Chance) -> Tensor:
    """A random field float32 (z, y, x) that varies slowly.

    Normal values on 2 to 5 grid points per axis are interpolated linearly, so the mean is about 0 and the standard
    deviation at most about 1.
    """
    grid = chance.normal((1, 1, *(chance.integer(2, 6) for _ in range(3))))
    return F.interpolate(grid, size=list(shape), mode="trilinear", align_corners=True)[0, 0]
