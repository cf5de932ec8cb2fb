"""The whole patch gets another contrast and another brightness."""

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

    contrast: float = setting(0.8, "probability of another contrast and brightness")
    contrast_range: float = setting(1.6, "greatest factor of contrast", low=1.0, high=math.inf)
    brightness: float = setting(0.4, "greatest shift, deviations of the normalised raw", high=math.inf)


def contrast(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw times a factor between 1 / `contrast_range` and `contrast_range`, plus a shift up or down."""
    if not chance.happens(settings.contrast):
        return patch
    spread = math.log(settings.contrast_range)
    raw = patch.raw * math.exp(chance.uniform(-spread, spread))
    return patch.with_raw(raw + chance.uniform(-settings.brightness, settings.brightness))


AUGMENTATION = Augmentation("contrast", 1200, contrast, "intensity", Settings)
