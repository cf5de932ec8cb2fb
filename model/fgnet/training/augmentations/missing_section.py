"""One section loses its content, in one of five cases two neighbouring ones."""

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

    missing_section: float = setting(0.08, "probability of a section without content")


def missing_section(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw with one constant value, 3 deviations from the mean at most, in one or two whole sections."""
    if not chance.happens(settings.missing_section):
        return patch
    raw = patch.raw.clone()
    begin = chance.integer(0, raw.shape[0])
    raw[begin : begin + (2 if chance.happens(0.2) else 1)] = chance.uniform(-3, 3)
    return patch.with_raw(raw)


AUGMENTATION = Augmentation("missing_section", 800, missing_section, "defects", Settings)
