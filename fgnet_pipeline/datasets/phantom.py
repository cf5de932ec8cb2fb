"""Generates a volume that looks like EM: cells with membranes, organelles, texture and shot noise.

It lets the whole pipeline run if there are no real data. Scores on it show that the parts fit together; they say
nothing about how well neurons are segmented. The same seed gives the same volume.

How it is made:

1. Curves of slowly turning direction are drawn through the volume; each is painted as a tube of its own
   radius.
2. Every voxel goes to the nearest tube, a smooth displacement makes the borders uneven, and each connected
   piece becomes one id.
3. Grey values: a level for each cell, dark membranes by the distance to the cell's border, dark ellipsoids
   (mitochondria) inside large cells, texture, blur, and noise that grows with the level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.float32]
Ids = npt.NDArray[np.uint64]

#: Increased by one when the same seed would give another volume.
VERSION = 1

_CURVE_UM_PER_UM3 = 20.0
_MITOCHONDRIA_TRIES_PER_UM3 = 80.0
_STEP_NM = 20.0
_CRUMB_NM3 = 1e6


@dataclass(frozen=True)
class Phantom:
    """What to generate.

    Attributes:
        shape: voxels, zyx.
        voxel_size: nm, zyx; if sections are thick, each has its own contrast, like sections cut by a knife.
        seed: of the random generator.
        noise: standard deviation of the shot noise in grey values at mid-grey.
    """

    shape: tuple[int, int, int] = (180, 250, 250)
    voxel_size: tuple[float, float, float] = (10.0, 10.0, 10.0)
    seed: int = 0
    noise: float = 7.0

    @property
    def anisotropic(self) -> bool:
        """Whether sections are at least twice as thick as their pixels are wide."""
        return self.voxel_size[0] >= 2 * self.voxel_size[2]

    @property
    def cubic_micrometres(self) -> float:
        """Size of the volume."""
        return math.prod(n * s / 1000 for n, s in zip(self.shape, self.voxel_size, strict=True))


def generate(phantom: Phantom) -> tuple[npt.NDArray[np.uint8], Ids]:
    """Generate a volume.

    Returns:
        Raw (z, y, x) uint8, and labels (z, y, x) uint64 with the ids 1, 2, 3, ... and no background.
    """
    rng = np.random.default_rng([VERSION, phantom.seed])
    labels = _cells(phantom, rng)
    return _grey(phantom, labels, rng), labels.astype(np.uint64)


def _cells(phantom: Phantom, rng: np.random.Generator) -> npt.NDArray[np.uint32]:
    """Ids 1, 2, 3, ... (z, y, x); the voxels of each are connected."""
    tubes = np.zeros(phantom.shape, np.uint32)
    for number in range(_curves(phantom)):
        radius = float(rng.choice([25.0, 60.0, 150.0], p=[0.6, 0.3, 0.1]) * rng.uniform(0.7, 1.4))
        for point in _curve(phantom, rng):
            _paint(tubes, number + 1, point, radius, phantom.voxel_size)
    cells = _components(_displaced(phantom, _nearest(phantom, tubes), rng))
    crumbs = np.bincount(cells.ravel()) * math.prod(phantom.voxel_size) < _CRUMB_NM3
    if crumbs.all():
        return cells
    return _components(_nearest(phantom, np.where(crumbs[cells], np.uint32(0), cells)))


def _nearest(phantom: Phantom, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Give every voxel the id of the nearest voxel whose id is not 0."""
    indices = ndimage.distance_transform_edt(
        ids == 0, sampling=phantom.voxel_size, return_distances=False, return_indices=True
    )
    filled: npt.NDArray[np.uint32] = ids[tuple(indices)]
    return filled


def _components(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Pieces that are connected through faces, numbered 1, 2, 3, ..."""
    return cc3d.connected_components(ids, connectivity=6).astype(np.uint32)


def _curves(phantom: Phantom) -> int:
    """Number of curves, at least 2: length per volume * surface / 4, since Cauchy's mean chord of a box is 4 V / S."""
    z, y, x = (n * s / 1000 for n, s in zip(phantom.shape, phantom.voxel_size, strict=True))
    return max(2, round(_CURVE_UM_PER_UM3 * 2 * (z * y + z * x + y * x) / 4))


def _curve(phantom: Phantom, rng: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
    """Points (nm, zyx) of a curve that starts at random inside the volume and leaves it at both ends."""
    extent = np.array(phantom.shape) * phantom.voxel_size
    start, heading = rng.uniform(0, extent), rng.standard_normal(3)
    for sign in (1.0, -1.0):
        point, direction = start.copy(), sign * heading / np.linalg.norm(heading)
        while np.all((point >= 0) & (point < extent)):
            yield point
            direction = direction + 0.18 * rng.standard_normal(3)
            direction /= np.linalg.norm(direction)
            point = point + _STEP_NM * direction


def _paint(
    tubes: npt.NDArray[np.uint32],
    number: int,
    centre: npt.NDArray[np.float64],
    radius: float,
    voxel_size: tuple[float, ...],
) -> None:
    """Give the free voxels of a ball to a tube; the centre always, so that thin tubes stay connected.

    Args:
        tubes: (z, y, x), 0 = free; changed in place.
        number: of the tube.
        centre: nm, zyx.
        radius: nm.
        voxel_size: nm, zyx.
    """
    at = [int(c // s) for c, s in zip(centre, voxel_size, strict=True)]
    reach = [int(radius // s) for s in voxel_size]
    box = tuple(slice(max(a - r, 0), a + r + 1) for a, r in zip(at, reach, strict=True))
    view = tubes[box]
    axes = np.ogrid[tuple(slice(b.start, b.start + n) for b, n in zip(box, view.shape, strict=True))]
    away = sum(((axis - a) * s) ** 2 for axis, a, s in zip(axes, at, voxel_size, strict=True))
    view[(view == 0) & (away <= radius**2)] = number
    tubes[tuple(at)] = tubes[tuple(at)] or number


def _smooth_noise(phantom: Phantom, rng: np.random.Generator, nm: float) -> Field:
    """Noise (z, y, x) with a deviation of about 1 that varies over `nm`, interpolated from a coarse grid."""
    coarse = [max(2, math.ceil(n * s / nm) + 1) for n, s in zip(phantom.shape, phantom.voxel_size, strict=True)]
    out = rng.standard_normal(coarse).astype(np.float32)
    for axis, (n, points) in enumerate(zip(phantom.shape, coarse, strict=True)):
        at = np.arange(n, dtype=np.float32) * np.float32((points - 1) / max(n - 1, 1))
        low = np.minimum(at.astype(np.int64), points - 2)
        weight = np.expand_dims(at - low, [a for a in range(3) if a != axis]).astype(np.float32)
        out = out.take(low, axis) * (1 - weight) + out.take(low + 1, axis) * weight
    return out * np.float32(1.8)


def _displaced(phantom: Phantom, cells: npt.NDArray[np.uint32], rng: np.random.Generator) -> npt.NDArray[np.uint32]:
    """The cells, displaced smoothly by about 25 nm along each axis."""
    index = []
    for axis, (n, size) in enumerate(zip(phantom.shape, phantom.voxel_size, strict=True)):
        moved = np.rint(_smooth_noise(phantom, rng, 120.0) * np.float32(25.0 / size)).astype(np.int32)
        moved += np.arange(n, dtype=np.int32).reshape([-1 if a == axis else 1 for a in range(3)])
        index.append(np.clip(moved, 0, n - 1, out=moved))
    return cells[tuple(index)]


def _grey(phantom: Phantom, labels: npt.NDArray[np.uint32], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Grey values 0 to 255 (z, y, x): cells, dark membranes and organelles."""
    depth = edt.edt(labels, anisotropy=phantom.voxel_size, black_border=False)
    levels = rng.normal(150.0, 14.0, int(labels.max()) + 1).astype(np.float32)
    image = levels[labels]
    image += 7 * _smooth_noise(phantom, rng, 60.0) + 5 * _smooth_noise(phantom, rng, 25.0)
    _add_mitochondria(phantom, image, labels, depth, rng)
    image -= (image - 85) * np.exp(-np.square(depth / np.float32(22.0)))
    blur = [0.0 if phantom.anisotropic and axis == 0 else 7.0 / s for axis, s in enumerate(phantom.voxel_size)]
    image = ndimage.gaussian_filter(image, blur, output=np.float32)
    if phantom.anisotropic:
        image *= rng.normal(1.0, 0.05, (len(image), 1, 1)).astype(np.float32)
    grain = rng.standard_normal(image.shape, np.float32)
    image += grain * np.sqrt(np.maximum(image, 0) / 128) * np.float32(phantom.noise)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _add_mitochondria(
    phantom: Phantom, image: Field, labels: npt.NDArray[np.uint32], depth: Field, rng: np.random.Generator
) -> None:
    """Darken ellipsoids that lie inside one cell, in cells that are wide enough; `image` is changed in place."""
    size = np.array(phantom.voxel_size)
    for _ in range(round(phantom.cubic_micrometres * _MITOCHONDRIA_TRIES_PER_UM3)):
        at = rng.integers(0, phantom.shape)
        axes_nm, turn = rng.uniform(60, 130, 3) * [1, 1, 2.5], np.linalg.qr(rng.standard_normal((3, 3)))[0]
        if depth[tuple(at)] < 90:
            continue
        reach = np.ceil(axes_nm.max() / size).astype(int)
        low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, phantom.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
        inside = np.square((grid - at) * size @ turn / axes_nm).sum(-1) <= 1
        inside &= (labels[box] == labels[tuple(at)]) & (depth[box] > 35)
        image[box][inside] = np.maximum(82 + 0.5 * (image[box][inside] - 150), 70)
