"""From labels to affinities. Labels are integer tensors (B, z, y, x), 0 = not labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fgnet.geometry import Triple


def _overlap(shape: Sequence[int], offset: Triple) -> tuple[Any, Any]:
    """Slices of the last three axes: the voxels v for which v + offset is inside, and these v + offset."""
    here: list[slice] = []
    there: list[slice] = []
    for size, step in zip(shape, offset, strict=True):
        here.append(slice(max(0, -step), max(0, min(size, size - step))))
        there.append(slice(max(0, step), max(0, min(size, size + step))))
    return (..., *here), (..., *there)


def eroded_axes(isotropic: bool) -> tuple[int, ...]:
    """The zyx axes along which labels are eroded: thin sections keep their labels along z."""
    return (0, 1, 2) if isotropic else (1, 2)


def erode(labels: Tensor, axes: Sequence[int] = (0, 1, 2)) -> Tensor:
    """Labels with a gap of one voxel on either side of every border between two objects.

    Voxels without label are no border: they do not erode their neighbours.

    Args:
        labels: integers (B, z, y, x), 0 = not labelled.
        axes: of zyx, along which neighbours are compared.

    Returns:
        The same labels, 0 wherever a neighbour along one of the axes carries another label.
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
    """Targets and weights of the loss.

    Args:
        labels: integers (B, z, y, x), 0 = not labelled.
        objects: the eroded labels, of the same shape.
        offsets: one zyx step in voxels per channel.

    Returns:
        target: float32 (B, C, z, y, x), 1 if v and v + offset carry the same id in `objects` that is not 0, else 0.
        weight: of the same shape, 1 if v + offset is inside and both voxels are labelled in `labels`, else 0.
    """
    shape = (labels.shape[0], len(offsets), *labels.shape[1:])
    target, weight = (torch.zeros(shape, device=labels.device) for _ in range(2))
    for channel, offset in enumerate(offsets):
        here, there = _overlap(labels.shape[-3:], offset)
        a, b = objects[here], objects[there]
        target[:, channel][here] = ((a == b) & (a > 0)).float()
        weight[:, channel][here] = ((labels[here] > 0) & (labels[there] > 0)).float()
    return target, weight
