"""A part of one to three sections loses its content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed."""

    missing_part: float = setting(0.08, "probability of a part without content")


def missing_part(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw with one constant value, 3 deviations from the mean at most, in a random box of up to three sections."""
    if not chance.happens(settings.missing_part):
        return patch
    raw = patch.raw.clone()
    z, y, x = chance.box(raw.shape)
    raw[z.start : z.start + chance.integer(1, 4), y, x] = chance.uniform(-3, 3)
    return patch.with_raw(raw)


AUGMENTATION = Augmentation("missing_part", 700, missing_part, "defects", Settings)
