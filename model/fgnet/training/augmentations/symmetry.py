"""Every patch is flipped and its axes are exchanged at random."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fgnet.training.augmentation import Augmentation, NoSettings

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch


def symmetry(patch: Patch, chance: Chance, settings: NoSettings) -> Patch:
    """One of the 48 symmetries of a cube if the patch is one and isotropic, else one of the 16 that keep z apart."""
    del settings
    cube = patch.isotropic and len(set(patch.raw.shape)) == 1
    axes = chance.permutation(3) if cube else [0, *(1 + a for a in chance.permutation(2))]
    flips = [axis for axis in range(3) if chance.happens(0.5)]
    return replace(patch, raw=patch.raw.permute(axes).flip(flips), labels=patch.labels.permute(axes).flip(flips))


AUGMENTATION = Augmentation("symmetry", 900, symmetry)
