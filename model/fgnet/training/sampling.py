"""Patches drawn from labelled volumes in memory, and augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from fgnet.geometry import Triple
from fgnet.training.augmentation import augmentations
from fgnet.training.chance import Chance
from fgnet.training.patch import LabelledVolume, Patch, cut
from fgnet.training.settings import AugmentSettings


def choose(volumes: Sequence[LabelledVolume], chance: Chance) -> LabelledVolume:
    """One of the volumes, each as likely as its weight says."""
    weights = torch.tensor([v.weight for v in volumes], dtype=torch.float64)
    index = int(torch.searchsorted(weights.cumsum(0), chance.uniform(0, float(weights.sum())), right=True))
    return volumes[min(index, len(volumes) - 1)]


def place(volume: LabelledVolume, shape: Triple, candidates: int, chance: Chance) -> Triple:
    """Where a patch begins, zyx: of `candidates` random places the one with most distinct labels.

    Thin neurites are rare, and places with many labels have more of them. Labels are counted on every fourth voxel.
    """
    best, most = (0, 0, 0), -1
    for _ in range(candidates):
        z, y, x = (chance.integer(0, max(1, n - s + 1)) for n, s in zip(volume.raw.shape, shape, strict=True))
        part = volume.labels[z : z + shape[0] : 4, y : y + shape[1] : 4, x : x + shape[2] : 4]
        count = len(part.unique()) if candidates > 1 else 0
        if count > most:
            best, most = (z, y, x), count
    return best


def draw(volumes: Sequence[LabelledVolume], shape: Triple, settings: AugmentSettings, chance: Chance) -> Patch:
    """One patch, a function of the arguments alone.

    Args:
        volumes: what to draw from, by their weights.
        shape: zyx of the patch in voxels.
        settings: which augmentations, and how strong.
        chance: source of all random numbers.
    """
    volume = choose(volumes, chance)
    patch = cut(volume, shape, place(volume, shape, settings.candidates, chance))
    if not settings.enabled:
        return patch
    for augmentation in augmentations():
        patch = augmentation.applied(patch, chance, settings.tables)
    return replace(patch, raw=patch.raw.contiguous(), labels=patch.labels.contiguous())
