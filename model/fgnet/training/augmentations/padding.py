"""A part of the patch is padding, as beside the tissue of a volume, or its sections are lost: one exact grey value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, setting

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch

#: Least and greatest share of the patch that is padding.
SHARES = (0.1, 0.6)
#: How often whole sections are lost in place of a part that is padding.
LOST = 0.3


@dataclass(frozen=True)
class Settings:
    """The share of patches that are changed. 0 is the default: earlier configurations draw the same patches."""

    padding: float = setting(0.0, "probability of a padded part, or of lost sections, of one exact value")


def padding(patch: Patch, chance: Chance, settings: Settings) -> Patch:
    """Raw with one exact value: black, white or grey, after all other changes, because padding has no noise.

    Padding lies beyond a plane, where labels become 0. Of lost sections, one or two, labels stay, as of
    `missing_section`. Thin sections are never padded along z.
    """
    if settings.padding <= 0 or not chance.happens(settings.padding):
        return patch
    raw, labels = patch.raw.clone(), patch.labels.clone()
    values = (float(raw.min()), float(raw.max()), chance.uniform(-3, 3))
    value = values[chance.integer(0, 3)]
    if chance.happens(LOST):
        begin = chance.integer(0, raw.shape[0])
        raw[begin : begin + chance.integer(1, 3)] = value
        return patch.with_raw(raw)
    axis = chance.integer(0 if patch.isotropic else 1, 3)
    size = raw.shape[axis]
    count = max(1, int(size * chance.uniform(*SHARES)))
    begin = 0 if chance.happens(0.5) else size - count
    raw.narrow(axis, begin, count).fill_(value)
    labels.narrow(axis, begin, count).fill_(0)
    return replace(patch, raw=raw, labels=labels)


AUGMENTATION = Augmentation("padding", 1500, padding, "defects", Settings)
