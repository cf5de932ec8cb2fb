"""Local shape descriptors of labels, an auxiliary target (Sheridan et al. 2022, Nature Methods 20, 295).

For every voxel they describe the part of its object that a Gaussian window around the voxel shows: where the centre of
mass lies, how the part is spread along and between the axes, and how much of the window it fills. A network that also
predicts them has to see more of an object than a contact needs. Values are those of the authors' package `lsds` 0.1.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fgnet.config import DESCRIPTORS
from fgnet.geometry import Triple

#: Standard deviations after which the window ends.
TRUNCATE = 3.0
#: Smallest variance in square voxels that a correlation is divided by.
LEAST_VARIANCE = 1e-3
#: From this standard deviation in voxels on, every second voxel is enough.
COARSE_FROM = 4.0
Sigma = tuple[float, float, float]


def local_shape_descriptors(labels: Tensor, sigma: Sigma, step: Triple = (1, 1, 1)) -> Tensor:
    """The descriptors of every voxel, from what the patch holds of its object.

    Args:
        labels: integers (B, z, y, x), 0 = not labelled.
        sigma: standard deviation of the window in voxels, zyx.
        step: compute at every so many voxels, zyx, and repeat the values for the voxels that follow; each divides the
            shape.

    Returns:
        float32 (B, 10, z, y, x), 0 to 1; all 0 without a label, and if the computed voxel has another one. Channels:
        mean offset along z, y, x as (offset / sigma + 1) / 2; variance along z, y, x / sigma^2; correlation r of zy,
        zx, yx as (r + 1) / 2; the share of the window that the object fills.
    """
    axes = [torch.arange(0, n, d, device=labels.device) for n, d in zip(labels.shape[1:], step, strict=True)]
    windows = [_window(len(a), s / d, labels.device) for a, s, d in zip(axes, sigma, step, strict=True)]
    place = torch.stack(torch.meshgrid(*(axis - axis[len(axis) // 2] for axis in axes), indexing="ij")).float()
    result = torch.zeros(len(labels), DESCRIPTORS, *labels.shape[1:], device=labels.device)
    for patch, described in zip(labels, result, strict=True):
        coarse = patch[:: step[0], :: step[1], :: step[2]]
        values = torch.zeros(DESCRIPTORS, *coarse.shape, device=labels.device)
        computed = coarse
        for label in torch.unique(coarse[coarse > 0]):
            mask = coarse == label
            box = _bounds(mask)  # a voxel of the object and what its window shows of it lie inside
            parts = [window[part, part] for window, part in zip(windows, box, strict=True)]
            found = _of_object(mask[box].float(), place[(slice(None), *box)], parts, sigma)
            held = values[(slice(None), *box)]
            held.copy_(torch.where(mask[box], found, held))
        for axis, repeats in enumerate(step):
            if repeats > 1:
                values, computed = (t.repeat_interleave(repeats, axis - 3) for t in (values, computed))
        described.copy_(values * ((patch > 0) & (patch == computed)))
    return result


def descriptor_targets(labels: Tensor, sigma: Sigma) -> tuple[Tensor, Tensor]:
    """Targets and weights of the loss.

    Along axes with a sigma of at least `COARSE_FROM` voxels, every second voxel is computed.

    Args:
        labels: integers (B, z, y, x), 0 = not labelled.
        sigma: standard deviation of the window in voxels, zyx.

    Returns:
        target: float32 (B, 10, z, y, x), see `local_shape_descriptors`.
        weight: float32 (B, 1, z, y, x), 1 if the voxel is described and lies at least sigma from each face of the
            patch, beyond which its object may go on; else 0.
    """
    z, y, x = (2 if s >= COARSE_FROM and n % 2 == 0 else 1 for s, n in zip(sigma, labels.shape[1:], strict=True))
    target = local_shape_descriptors(labels, sigma, (z, y, x))
    weight = target[:, -1:] > 0  # an object fills a part of the window around each of its voxels
    for axis, (length, margin) in enumerate(zip(labels.shape[1:], sigma, strict=True), start=2):
        margin = min(math.ceil(margin), (length - 1) // 2)
        weight.narrow(axis, 0, margin).fill_(False)
        weight.narrow(axis, length - margin, margin).fill_(False)
    return target, weight.float()


def _bounds(mask: Tensor) -> tuple[slice, slice, slice]:
    """The slices of the bounding box of a mask (z, y, x) that is not empty."""
    others = ((1, 2), (0, 2), (0, 1))
    ends = [torch.nonzero(mask.any(axes[1]).any(axes[0])).flatten()[[0, -1]].tolist() for axes in others]
    (z, y, x) = (slice(first, last + 1) for first, last in ends)
    return z, y, x


def _window(length: int, sigma: float, device: torch.device) -> Tensor:
    """The matrix (length, length) that smooths along an axis by a Gaussian whose sum is 1, with zeros outside."""
    reach = int(TRUNCATE * sigma + 0.5)
    distance = torch.arange(length, device=device)
    distance = (distance[:, None] - distance[None]).abs()
    total = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=device) / sigma) ** 2).sum()
    return torch.where(distance <= reach, torch.exp(-0.5 * (distance / sigma) ** 2), 0.0) / total


def _of_object(mask: Tensor, place: Tensor, windows: list[Tensor], sigma: Sigma) -> Tensor:
    """The descriptors (10, z, y, x) of an object at every voxel, inside it or not.

    Args:
        mask: float32 (z, y, x), 1 inside.
        place: float32 (3, z, y, x), the position of each voxel in voxels.
        windows: of `_window`, zyx.
        sigma: in voxels, zyx.
    """
    products = torch.stack([place[a] * place[b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))])
    sums = torch.cat([mask[None], place * mask, products * mask])
    sums = windows[1] @ (sums @ windows[2].T)
    sums = (windows[0] @ sums.flatten(2)).view_as(sums)
    size = sums[0]
    mean, square = (part / size.clamp(min=1e-12) for part in (sums[1:4], sums[4:]))
    scale = torch.tensor(sigma, device=mask.device)[:, None, None, None]
    variance = (square[:3] - mean**2).clamp(min=LEAST_VARIANCE)
    covariance = torch.stack([square[3 + i] - mean[a] * mean[b] for i, (a, b) in enumerate(((0, 1), (0, 2), (1, 2)))])
    spread = variance.sqrt()
    correlation = covariance / torch.stack([spread[0] * spread[1], spread[0] * spread[2], spread[1] * spread[2]])
    offset = (mean - place) / scale
    parts = [offset * 0.5 + 0.5, variance / scale**2, correlation * 0.5 + 0.5, size[None]]
    return torch.cat(parts).clamp_(0, 1)
