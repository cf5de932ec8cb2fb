"""Losses on logits, with a weight per voxel and channel (0 = ignored)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fgnet.network import Logits

#: Added to both sides of the Dice fraction, so that patches with few positive voxels do not dominate.
DICE_SMOOTH = 100.0


def bce_dice(logits: Tensor, target: Tensor, weight: Tensor, dice: float = 0.5) -> Tensor:
    """Mean binary cross entropy plus `dice` times the Dice loss.

    The Dice loss is 1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s) with smoothing s = `DICE_SMOOTH` (Milletari et al.
    2016, arXiv 1606.04797, but without squares), over all voxels and channels together.

    Args:
        logits: (B, C, z, y, x), computed with as float32.
        target: float32 of the same shape, 0 to 1.
        weight: float32 of the same shape, 0 = ignored.
        dice: factor of the Dice loss.

    Returns:
        One number, float32.
    """
    logits = logits.float()
    total = weight.sum().clamp(min=1.0)
    entropy = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum() / total
    predicted = logits.sigmoid() * weight
    truth = target * weight
    shared = (predicted * truth).sum()
    overlap = (2 * shared + DICE_SMOOTH) / (predicted.sum() + truth.sum() + DICE_SMOOTH)
    return entropy + dice * (1 - overlap)


def descriptor_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of local shape descriptors, as their authors take it; one number, float32.

    Args:
        logits: (B, 10, z, y, x); a sigmoid gives the descriptors.
        target: float32 of the same shape, 0 to 1.
        weight: float32 (B, 1, z, y, x), 0 = ignored.
    """
    error = (logits.float().sigmoid() - target).square() * weight
    return error.sum() / (weight.sum() * target.shape[1]).clamp(min=1.0)


def total_loss(
    logits: Logits, target: Tensor, weight: Tensor, auxiliary: tuple[Tensor, Tensor] | None, auxiliary_weight: float
) -> Tensor:
    """Mean of the losses of coarse and refined logits, plus `auxiliary_weight` times that of the auxiliary ones.

    Args:
        logits: of the network in training mode.
        target: float32 (B, C, z, y, x), 0 or 1.
        weight: float32 of the same shape, 0 = ignored.
        auxiliary: target and weight of the auxiliary offsets, (B, C', z, y, x) each, or None.
        auxiliary_weight: factor of their loss.
    """
    loss = bce_dice(logits.refined, target, weight)
    if logits.coarse is not None:
        loss = (loss + bce_dice(logits.coarse, target, weight)) / 2
    if logits.auxiliary is not None and auxiliary is not None:
        loss = loss + auxiliary_weight * bce_dice(logits.auxiliary, *auxiliary)
    return loss
