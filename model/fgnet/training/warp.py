"""Geometric augmentation: one resampling that moves raw and labels together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fgnet.geometry import Triple
from fgnet.training.chance import Chance
from fgnet.training.settings import WarpSettings


def symmetry(raw: Tensor, labels: Tensor, chance: Chance, isotropic: bool) -> tuple[Tensor, Tensor]:
    """A random flip and permutation of axes: all 48 for isotropic (z, y, x) tensors, else the 16 that keep z apart."""
    axes = chance.permutation(3) if isotropic else [0, *(1 + a for a in chance.permutation(2))]
    flips = [axis for axis in range(3) if chance.happens(0.5)]
    return raw.permute(axes).flip(flips), labels.permute(axes).flip(flips)


def rotation(chance: Chance, isotropic: bool) -> Tensor:
    """A random 3x3 rotation in zyx: any for isotropic data, else about z."""
    if isotropic:
        matrix, triangle = torch.linalg.qr(chance.normal((3, 3)).double())
        matrix = matrix * torch.sign(torch.diagonal(triangle))
        if torch.det(matrix) < 0:
            matrix[:, 0] = -matrix[:, 0]
        return matrix.float()
    angle = chance.uniform(0, 2 * math.pi)
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def coordinates(shape: Triple, centre: Tensor, settings: WarpSettings, chance: Chance, isotropic: bool) -> Tensor:
    """(z, y, x, 3) source positions in voxels, zyx, of a warped patch about `centre`."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    matrix = rotation(chance, isotropic) if chance.happens(settings.rotate) else torch.eye(3)
    spread = math.log(settings.zoom)
    zoom = torch.tensor([math.exp(chance.uniform(-spread, spread)) for _ in range(3)])
    grid = grid @ (matrix * zoom).T
    if settings.elastic > 0:
        coarse = [max(2, round(n / settings.elastic_spacing)) + 1 for n in shape]
        field = chance.normal((1, 3, *coarse)) * chance.uniform(0, settings.elastic)
        smooth = F.interpolate(field, size=list(shape), mode="trilinear", align_corners=True)[0].movedim(0, -1)
        if not isotropic:
            smooth[..., 0] = 0
        grid = grid + smooth
    return grid + centre


def resample(raw: Tensor, labels: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """raw trilinear and mirrored at its border, labels nearest and 0 outside. Labels stay below 2**24."""
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
