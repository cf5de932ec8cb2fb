"""Noise in the whole patch. In three of ten cases the noise of neighbouring voxels is similar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed, and the greatest strength."""

    noise: float = setting(0.5, "probability of noise")
    noise_strength: float = setting(
        0.4, "greatest standard deviation of the noise, deviations of the normalised raw", high=math.inf
    )


def noise(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw plus normally distributed noise of a random strength."""
    from fgnet.training.filters import gaussian_blur

    if not chance.happens(settings.noise):
        return patch
    values = chance.normal(tuple(patch.raw.shape))
    if chance.happens(0.3):
        # The blur lowers the standard deviation to .35; the factor takes it back to .87.
        values = gaussian_blur(values, (0.6, 0.6, 0.6)) * 2.5
    return patch.with_raw(patch.raw + values * chance.uniform(0, settings.noise_strength))


AUGMENTATION = Augmentation("noise", 1400, noise, "intensity", Settings)
