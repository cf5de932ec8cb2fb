"""Contrast and brightness vary slowly over the patch."""

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

    field: float = setting(0.3, "probability of an illumination that varies over the patch")
    field_strength: float = setting(
        0.4, "greatest strength of its variation, deviations of the normalised raw", high=math.inf
    )


def illumination(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw times the exponential of one smooth random field, plus another one."""
    from fgnet.training.filters import smooth_field

    if not chance.happens(settings.field):
        return patch
    shape = patch.raw.shape
    raw = patch.raw * (smooth_field(shape, chance) * chance.uniform(0, settings.field_strength / 2)).exp()
    return patch.with_raw(raw + smooth_field(shape, chance) * chance.uniform(0, settings.field_strength))


AUGMENTATION = Augmentation("illumination", 1300, illumination, "intensity", Settings)
