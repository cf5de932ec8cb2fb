"""From labels to affinities. Labels are (B, z, y, x) integer tensors, 0 = not labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fgnet.geometry import Triple


def _overlap(shape: Sequence[int], offset: Triple) -> tuple[Any, Any]:
    """Slices of the voxels v with v + offset inside, and of v + offset, over the last three axes."""
    here: list[slice] = []
    there: list[slice] = []
    for size, step in zip(shape, offset, strict=True):
        here.append(slice(max(0, -step), max(0, min(size, size - step))))
        there.append(slice(max(0, step), max(0, min(size, size + step))))
    return (..., *here), (..., *there)


def erode(labels: Tensor, axes: Sequence[int] = (0, 1, 2)) -> Tensor:
    """Labels with 0 where a neighbour along one of the zyx `axes` carries another non-zero label: one voxel a side.

    Voxels not labelled take no label from anyone, and do not erode their neighbours.
    """
    border = torch.zeros_like(labels, dtype=torch.bool)
    for axis in axes:
        offset = [0, 0, 0]
        offset[axis] = 1
        here, there = _overlap(labels.shape[-3:], (offset[0], offset[1], offset[2]))
        differ = (labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)
        border[here] |= differ
        border[there] |= differ
    return labels.masked_fill(border, 0)


def affinities(labels: Tensor, objects: Tensor, offsets: Sequence[Triple]) -> tuple[Tensor, Tensor]:
    """(target, weight), both float32 (B, C, z, y, x).

    target: 1 iff v and v + offset carry the same non-zero id in `objects` (the eroded labels). weight: 1 where both lie
    inside and both are labelled in `labels`, else 0.
    """
    shape = (labels.shape[0], len(offsets), *labels.shape[1:])
    target, weight = (torch.zeros(shape, device=labels.device) for _ in range(2))
    for channel, offset in enumerate(offsets):
        here, there = _overlap(labels.shape[-3:], offset)
        a, b = objects[here], objects[there]
        target[:, channel][here] = ((a == b) & (a > 0)).float()
        weight[:, channel][here] = ((labels[here] > 0) & (labels[there] > 0)).float()
    return target, weight
