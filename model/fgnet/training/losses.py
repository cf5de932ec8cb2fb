"""Losses on logits, with a weight a voxel (0 = ignored)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fgnet.network import Logits

DICE_SMOOTH = 100.0


def bce_dice(logits: Tensor, target: Tensor, weight: Tensor, dice: float = 0.5) -> Tensor:
    """Mean binary cross entropy + `dice` x Dice loss (smooth 100) over the weighted voxels."""
    logits = logits.float()
    total = weight.sum().clamp(min=1.0)
    entropy = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum() / total
    predicted = logits.sigmoid() * weight
    truth = target * weight
    shared = (predicted * truth).sum()
    overlap = (2 * shared + DICE_SMOOTH) / (predicted.sum() + truth.sum() + DICE_SMOOTH)
    return entropy + dice * (1 - overlap)


def total_loss(
    logits: Logits, target: Tensor, weight: Tensor, auxiliary: tuple[Tensor, Tensor] | None, auxiliary_weight: float
) -> Tensor:
    """Mean over coarse and refined, plus `auxiliary_weight` x the loss of the auxiliary offsets."""
    loss = bce_dice(logits.refined, target, weight)
    if logits.coarse is not None:
        loss = (loss + bce_dice(logits.coarse, target, weight)) / 2
    if logits.auxiliary is not None and auxiliary is not None:
        loss = loss + auxiliary_weight * bce_dice(logits.auxiliary, *auxiliary)
    return loss
