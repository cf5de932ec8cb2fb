"""The whole patch is blurred, or else sharpened."""

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
    """The share of patches that are changed, and the greatest change."""

    blur: float = setting(0.25, "probability of a blur")
    blur_sigma: float = setting(1.2, "greatest standard deviation of the blur along z, voxels", high=math.inf)
    sharpen: float = setting(0.15, "probability that a patch that is not blurred is sharpened")


def sharpness(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw blurred, along y and x by .5 to 1.5 times the blur along z; or raw with its fine detail amplified."""
    from fgnet.training.filters import gaussian_blur

    raw = patch.raw
    if chance.happens(settings.blur):
        sigma = chance.uniform(0.2, settings.blur_sigma)
        raw = gaussian_blur(raw, (sigma, sigma * chance.uniform(0.5, 1.5), sigma * chance.uniform(0.5, 1.5)))
    elif chance.happens(settings.sharpen):
        raw = raw + chance.uniform(0.2, 1.5) * (raw - gaussian_blur(raw, (1.0, 1.0, 1.0)))
    return patch.with_raw(raw)


AUGMENTATION = Augmentation("sharpness", 1000, sharpness, "intensity", Settings)
