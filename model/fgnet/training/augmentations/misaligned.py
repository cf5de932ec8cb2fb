"""All sections from one on are shifted in their plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch

#: Voxels along y and along x.
LARGEST_SHIFT = 4


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed."""

    misaligned: float = setting(0.05, "probability of a step between two sections")


def misaligned(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw and labels shifted together; what leaves at one edge enters at the other one, where its labels become 0."""
    if not chance.happens(settings.misaligned):
        return patch
    begin = chance.integer(1, patch.raw.shape[0])
    dy, dx = (chance.integer(-LARGEST_SHIFT, LARGEST_SHIFT + 1) for _ in range(2))
    raw, labels = patch.raw.clone(), patch.labels.clone()
    raw[begin:] = raw[begin:].roll((dy, dx), (1, 2))
    labels[begin:] = labels[begin:].roll((dy, dx), (1, 2))
    if dy:
        labels[begin:, _entered(dy)] = 0
    if dx:
        labels[begin:, :, _entered(dx)] = 0
    return replace(patch, raw=raw, labels=labels)


def _entered(shift: int) -> slice:
    """The voxels along an axis that a shift brought in from the other edge."""
    return slice(0, shift) if shift > 0 else slice(shift, None)


AUGMENTATION = Augmentation("misaligned", 200, misaligned, "defects", Settings)
