"""Every section gets a contrast and a brightness of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch

#: Greatest standard deviation of the logarithm of the contrast, and of the brightness.
LARGEST_STRENGTH = 0.25


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed."""

    section_contrast: float = setting(0.2, "probability of sections that differ in contrast and brightness")


def section_contrast(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw times one random gain per section plus one random shift per section, both of one strength per patch."""
    if not chance.happens(settings.section_contrast):
        return patch
    per_section = (patch.raw.shape[0], 1, 1)
    strength = chance.uniform(0.0, LARGEST_STRENGTH)
    gain = (chance.normal(per_section) * strength).exp()
    return patch.with_raw(patch.raw * gain + chance.normal(per_section) * strength)


AUGMENTATION = Augmentation("section_contrast", 600, section_contrast, "defects", Settings)
