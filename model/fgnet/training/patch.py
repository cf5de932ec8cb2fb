"""Labelled volumes in memory, and patches cut from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from fgnet.geometry import Triple


@dataclass(frozen=True)
class LabelledVolume:
    """A volume to learn from.

    Attributes:
        raw: float32 (z, y, x), normalised: mean about 0, deviation about 1.
        labels: int32 (z, y, x), 0 = ignored, every id below 2**24, which float32 holds exactly.
        weight: how often patches are drawn from it, relative to the weights of the other volumes.
        isotropic: False for thin sections, which are never turned out of their plane.
    """

    raw: Tensor
    labels: Tensor
    weight: float = 1.0
    isotropic: bool = True


@dataclass(frozen=True)
class Patch:
    """What the network is shown, and where it was cut.

    Attributes:
        raw: float32 (z, y, x), normalised.
        labels: int32 (z, y, x), 0 = ignored; the shape of `raw`.
        volume: the volume that it was cut from.
        begin: zyx of its first voxel in the volume, before any augmentation.
    """

    raw: Tensor
    labels: Tensor
    volume: LabelledVolume
    begin: Triple

    @property
    def isotropic(self) -> bool:
        """True if all three axes may be exchanged as far as the voxel size is concerned."""
        return self.volume.isotropic

    def with_raw(self, raw: Tensor) -> Patch:
        """The same patch with other grey values."""
        return replace(self, raw=raw)


def cut(volume: LabelledVolume, shape: Triple, begin: Triple) -> Patch:
    """The patch of `shape` at `begin`, without augmentation.

    If the volume is smaller than the patch, its last voxels are repeated in raw, and labels are 0 there.
    """
    region = tuple(slice(b, b + s) for b, s in zip(begin, shape, strict=True))
    raw, labels = volume.raw[region], volume.labels[region]
    missing = [s - n for s, n in zip(shape, raw.shape, strict=True)]
    if any(missing):
        padding = (0, missing[2], 0, missing[1], 0, missing[0])
        raw = F.pad(raw[None, None], padding, mode="replicate")[0, 0]
        labels = F.pad(labels, padding)
    return Patch(raw, labels, volume, begin)
