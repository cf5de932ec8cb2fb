"""The patch is read anew from its volume, turned, zoomed and bent: raw and labels in one interpolation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from torch import Tensor

    from fgnet.geometry import Triple
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch


@dataclass(frozen=True)
class Settings:
    """How far a patch is deformed."""

    probability: float = setting(0.6, "probability of a deformed patch")
    rotate: float = setting(0.6, "probability that a deformed patch is turned by any angle")
    zoom: float = setting(1.3, "greatest factor of size per axis", low=1.0, high=10.0)
    elastic: float = setting(3.0, "greatest standard deviation of the bending, voxels", high=math.inf)
    elastic_spacing: int = setting(24, "distance of the points that are moved at random, voxels", low=1, high=math.inf)


def coordinates(shape: Triple, centre: Tensor, settings: Settings, chance: Chance, isotropic: bool) -> Tensor:
    """Where each voxel of a deformed patch is read.

    Args:
        shape: zyx of the patch.
        centre: (3,) zyx in voxels of the volume, the point about which the patch is turned and zoomed.
        settings: how far.
        chance: source of all random numbers.
        isotropic: if False, the patch is turned about z only and not bent along z.

    Returns:
        float32 (z, y, x, 3), zyx in voxels of the volume.
    """
    import torch

    from fgnet.training.resampling import centred_grid, elastic_field, rotation, zooms

    matrix = rotation(chance, isotropic) if chance.happens(settings.rotate) else torch.eye(3)
    grid = centred_grid(shape) @ (matrix * zooms(settings.zoom, chance)).T
    if settings.elastic > 0:
        grid = grid + elastic_field(shape, settings.elastic_spacing, settings.elastic, chance, isotropic)
    return grid + centre


def warp(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """The patch read from its volume at deformed coordinates; labels are 0 outside of the volume."""
    import torch

    from fgnet.training.resampling import resample

    if not chance.happens(settings.probability):
        return patch
    volume = patch.volume
    z, y, x = patch.raw.shape
    centre = [b + (min(s, n) - 1) / 2 for b, s, n in zip(patch.begin, (z, y, x), volume.raw.shape, strict=True)]
    positions = coordinates((z, y, x), torch.tensor(centre), settings, chance, patch.isotropic)
    raw, labels = resample(volume.raw, volume.labels, positions)
    return replace(patch, raw=raw, labels=labels)


AUGMENTATION = Augmentation("warp", 100, warp, "warp", Settings)
