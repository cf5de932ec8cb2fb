"""One to three neighbouring sections are smeared along one axis of their plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch

#: Least and greatest standard deviation of the blur, voxels.
SIGMAS = (1.0, 3.0)


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed."""

    motion_blur: float = setting(0.05, "probability of smeared sections")


def motion_blur(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw with a Gaussian blur along y or along x in up to three sections."""
    from fgnet.training.filters import gaussian_blur

    if not chance.happens(settings.motion_blur):
        return patch
    raw = patch.raw.clone()
    begin = chance.integer(0, raw.shape[0])
    part = slice(begin, begin + chance.integer(1, 4))
    sigma = chance.uniform(*SIGMAS)
    raw[part] = gaussian_blur(raw[part], (0.0, sigma, 0.0) if chance.happens(0.5) else (0.0, 0.0, sigma))
    return patch.with_raw(raw)


AUGMENTATION = Augmentation("motion_blur", 400, motion_blur, "defects", Settings)
