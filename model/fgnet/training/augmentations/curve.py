"""The histogram changes its shape: grey values pass through a random rising curve."""

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
    """The share of patches that are changed."""

    curve: float = setting(0.5, "probability of another shape of the histogram")


def curve(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw with one slope below a random value and another slope above it, then saturated by a hyperbolic tangent."""
    if not chance.happens(settings.curve):
        return patch
    raw = patch.raw
    dark, bright = (math.exp(chance.uniform(-0.5, 0.5)) for _ in range(2))
    knee = chance.uniform(-0.5, 0.5)
    bent = ((raw - knee) * dark).where(raw < knee, (raw - knee) * bright) + knee
    limit = chance.uniform(1.2, 4.0)
    return patch.with_raw((bent / limit).tanh() * limit)


AUGMENTATION = Augmentation("curve", 1100, curve, "intensity", Settings)
