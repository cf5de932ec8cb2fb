"""Grey-value augmentation of normalised raw patches, (z, y, x) float32 with mean about 0 and deviation about 1."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet.training.chance import Chance
from fgnet.training.settings import IntensitySettings


def gaussian_blur(raw: Tensor, sigmas: tuple[float, float, float]) -> Tensor:
    """Separable Gaussian blur with mirrored borders; sigma in voxels an axis, 0 = none."""
    x = raw[None, None]
    for axis, sigma in enumerate(sigmas):
        if sigma < 0.05:
            continue
        radius = max(1, math.ceil(2.5 * sigma))
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
        shape, padding = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = -1
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        x = F.conv3d(F.pad(x, padding, mode="replicate"), (taps / taps.sum()).view(shape))
    return x[0, 0]


def monotone_curve(raw: Tensor, chance: Chance) -> Tensor:
    """Other slopes for dark and bright, and a saturation: a monotone change of the histogram's shape."""
    dark, bright = (math.exp(chance.uniform(-0.5, 0.5)) for _ in range(2))
    knee = chance.uniform(-0.5, 0.5)
    bent = torch.where(raw < knee, (raw - knee) * dark, (raw - knee) * bright) + knee
    limit = chance.uniform(1.2, 4.0)
    return torch.tanh(bent / limit) * limit


def smooth_field(shape: torch.Size, chance: Chance) -> Tensor:
    """A slowly varying random field of deviation about 1."""
    grid = chance.normal((1, 1, *(chance.integer(2, 6) for _ in range(3))))
    return F.interpolate(grid, size=list(shape), mode="trilinear", align_corners=True)[0, 0]


def augment_intensity(raw: Tensor, chance: Chance, settings: IntensitySettings) -> Tensor:
    """Raw of the same shape with other sharpness, contrast, illumination and noise."""
    if chance.happens(settings.blur):
        sigma = chance.uniform(0.2, settings.blur_sigma)
        raw = gaussian_blur(raw, (sigma, sigma * chance.uniform(0.5, 1.5), sigma * chance.uniform(0.5, 1.5)))
    elif chance.happens(settings.sharpen):
        raw = raw + chance.uniform(0.2, 1.5) * (raw - gaussian_blur(raw, (1.0, 1.0, 1.0)))
    if chance.happens(settings.curve):
        raw = monotone_curve(raw, chance)
    if chance.happens(settings.contrast):
        spread = math.log(settings.contrast_range)
        raw = raw * math.exp(chance.uniform(-spread, spread))
        raw = raw + chance.uniform(-settings.brightness, settings.brightness)
    if chance.happens(settings.field):
        raw = raw * torch.exp(smooth_field(raw.shape, chance) * chance.uniform(0, settings.field_strength / 2))
        raw = raw + smooth_field(raw.shape, chance) * chance.uniform(0, settings.field_strength)
    if chance.happens(settings.noise):
        noise = chance.normal(tuple(raw.shape))
        if chance.happens(0.3):
            noise = gaussian_blur(noise, (0.6, 0.6, 0.6)) * 2.5
        raw = raw + noise * chance.uniform(0, settings.noise_strength)
    return raw
