"""Reading raw and labels at positions between voxels: turns, zooms and bends in one interpolation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet.geometry import Triple
from fgnet.training.chance import Chance


def rotation(chance: Chance, isotropic: bool) -> Tensor:
    """A random rotation matrix, float32 (3, 3), for zyx vectors: any rotation if isotropic, else one about z.

    Any rotation is equally likely: Q of the QR decomposition of a normal matrix, with the signs of R's diagonal taken
    into Q (Mezzadri 2007, arXiv math-ph/0609050).
    """
    if isotropic:
        matrix, triangle = torch.linalg.qr(chance.normal((3, 3)).double())
        matrix = matrix * torch.sign(torch.diagonal(triangle))
        if torch.det(matrix) < 0:
            matrix[:, 0] = -matrix[:, 0]
        return matrix.float()
    angle = chance.uniform(0, 2 * math.pi)
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def centred_grid(shape: Triple) -> Tensor:
    """The zyx positions of the voxels of a patch relative to its centre, float32 (z, y, x, 3)."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def zooms(largest: float, chance: Chance) -> Tensor:
    """Three factors, zyx, each between 1 / `largest` and `largest`, uniform in their logarithm."""
    spread = math.log(largest)
    return torch.tensor([math.exp(chance.uniform(-spread, spread)) for _ in range(3)])


def elastic_field(shape: Triple, spacing: int, strength: float, chance: Chance, isotropic: bool) -> Tensor:
    """Displacements in voxels, zyx, float32 (z, y, x, 3), interpolated linearly from a coarse random grid.

    Args:
        shape: zyx of the patch.
        spacing: voxels between the points of the grid, about.
        strength: the standard deviation at a point is drawn between 0 and this, in voxels.
        chance: source of all random numbers.
        isotropic: if False, nothing moves along z.
    """
    coarse = [max(2, round(n / spacing)) + 1 for n in shape]
    field = chance.normal((1, 3, *coarse)) * chance.uniform(0, strength)
    smooth = F.interpolate(field, size=list(shape), mode="trilinear", align_corners=True)[0].movedim(0, -1)
    if not isotropic:
        smooth[..., 0] = 0
    return smooth


def resample(raw: Tensor, labels: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Raw and labels at given positions of a volume.

    Args:
        raw: float32 (Z, Y, X), read by trilinear interpolation, mirrored at the border of what is read.
        labels: int32 (Z, Y, X) below 2**24, read from the nearest voxel, 0 outside.
        positions: float32 (z, y, x, 3), zyx in voxels of the volume.

    Returns:
        Raw float32 and labels int32, both (z, y, x).
    """
    low = positions.amin((0, 1, 2)).floor().long().tolist()
    high = positions.amax((0, 1, 2)).ceil().long().tolist()
    box = tuple(
        slice(min(max(0, a - 2), n - 2), max(min(n, b + 3), 2)) for a, b, n in zip(low, high, raw.shape, strict=True)
    )
    raw, labels = raw[box], labels[box]
    begin = torch.tensor([s.start for s in box], dtype=torch.float32)
    scale = torch.tensor([2.0 / (n - 1) for n in raw.shape])
    grid = (((positions - begin) * scale - 1).flip(-1))[None]
    warped = F.grid_sample(raw[None, None], grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    moved = F.grid_sample(labels[None, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=True)
    return warped[0, 0], moved[0, 0].to(labels.dtype)
