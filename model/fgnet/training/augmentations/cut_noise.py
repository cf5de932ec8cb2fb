"""One box of the patch gets strong noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch

#: Least and greatest standard deviation of the noise, in deviations of the normalised raw.
STRENGTHS = (0.3, 1.0)


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed."""

    cut_noise: float = setting(0.05, "probability of a noisy box")


def cut_noise(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw with normally distributed noise added in a random box."""
    if not chance.happens(settings.cut_noise):
        return patch
    raw = patch.raw.clone()
    part = chance.box(raw.shape)
    raw[part] += chance.normal(tuple(raw[part].shape)) * chance.uniform(*STRENGTHS)
    return patch.with_raw(raw)


AUGMENTATION = Augmentation("cut_noise", 500, cut_noise, "defects", Settings)
