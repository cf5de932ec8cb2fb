"""Patches for one iteration, drawn from labelled volumes in memory and augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet.geometry import Triple
from fgnet.training.chance import Chance
from fgnet.training.defects import augment_defects
from fgnet.training.intensity import augment_intensity
from fgnet.training.settings import AugmentSettings, WarpSettings
from fgnet.training.warp import coordinates, resample, symmetry


@dataclass(frozen=True)
class LabelledVolume:
    """raw (z, y, x) float32, normalised. labels (z, y, x) int32 below 2**24, 0 = ignored. weight: how often drawn."""

    raw: Tensor
    labels: Tensor
    weight: float = 1.0
    isotropic: bool = True


@dataclass(frozen=True)
class Patch:
    """raw and labels (z, y, x) as the network shall see them."""

    raw: Tensor
    labels: Tensor
    isotropic: bool


def place(volume: LabelledVolume, shape: Triple, candidates: int, chance: Chance) -> Triple:
    """Where a crop begins: of `candidates` random places that with most distinct labels, as thin neurites are rare."""
    best, most = (0, 0, 0), -1
    for _ in range(candidates):
        z, y, x = (chance.integer(0, max(1, n - s + 1)) for n, s in zip(volume.raw.shape, shape, strict=True))
        part = volume.labels[z : z + shape[0] : 4, y : y + shape[1] : 4, x : x + shape[2] : 4]
        count = len(part.unique()) if candidates > 1 else 0
        if count > most:
            best, most = (z, y, x), count
    return best


def crop(volume: LabelledVolume, shape: Triple, begin: Triple) -> tuple[Tensor, Tensor]:
    """A plain crop; where the volume is smaller than the patch, its edge repeated, without labels."""
    region = tuple(slice(b, b + s) for b, s in zip(begin, shape, strict=True))
    raw, labels = volume.raw[region], volume.labels[region]
    missing = [s - n for s, n in zip(shape, raw.shape, strict=True)]
    if any(missing):
        padding = (0, missing[2], 0, missing[1], 0, missing[0])
        raw = F.pad(raw[None, None], padding, mode="replicate")[0, 0]
        labels = F.pad(labels, padding)
    return raw, labels


def warped(
    volume: LabelledVolume, shape: Triple, begin: Triple, settings: WarpSettings, chance: Chance
) -> tuple[Tensor, Tensor]:
    """The crop that begins at `begin`, turned about its centre, zoomed and bent."""
    centre = [b + (min(s, n) - 1) / 2 for b, s, n in zip(begin, shape, volume.raw.shape, strict=True)]
    positions = coordinates(shape, torch.tensor(centre), settings, chance, volume.isotropic)
    return resample(volume.raw, volume.labels, positions)


def draw(volumes: Sequence[LabelledVolume], shape: Triple, settings: AugmentSettings, chance: Chance) -> Patch:
    """One patch of `shape`. Every random choice comes from `chance`."""
    weights = torch.tensor([v.weight for v in volumes], dtype=torch.float64)
    index = int(torch.searchsorted(weights.cumsum(0), chance.uniform(0, float(weights.sum())), right=True))
    volume = volumes[min(index, len(volumes) - 1)]
    begin = place(volume, shape, settings.candidates, chance)
    if not settings.enabled:
        return Patch(*crop(volume, shape, begin), volume.isotropic)
    if chance.happens(settings.warp.probability):
        raw, labels = warped(volume, shape, begin, settings.warp, chance)
    else:
        raw, labels = crop(volume, shape, begin)
    raw, labels = augment_defects(raw, labels, chance, settings.defects)
    raw, labels = symmetry(raw, labels, chance, volume.isotropic and len(set(shape)) == 1)
    raw = augment_intensity(raw, chance, settings.intensity)
    return Patch(raw.contiguous(), labels.contiguous(), volume.isotropic)
