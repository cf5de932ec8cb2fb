"""One box of the patch is blurred."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch

#: Least and greatest standard deviation of the blur, voxels.
SIGMAS = (0.7, 2.5)


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed."""

    cut_blur: float = setting(0.05, "probability of a blurred box")


def cut_blur(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw with a Gaussian blur of one strength for all axes in a random box; the border of the box is repeated."""
    from fgnet.training.filters import gaussian_blur

    if not chance.happens(settings.cut_blur):
        return patch
    raw = patch.raw.clone()
    part = chance.box(raw.shape)
    sigma = math.exp(chance.uniform(math.log(SIGMAS[0]), math.log(SIGMAS[1])))
    raw[part] = gaussian_blur(raw[part], (sigma, sigma, sigma))
    return patch.with_raw(raw)


AUGMENTATION = Augmentation("cut_blur", 300, cut_blur, "defects", Settings)
