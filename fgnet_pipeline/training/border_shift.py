"""Where the borders of labels lie against the borders in the picture.

Membranes are darker than the rest of raw (or brighter, in a negative). So the mean of raw at label borders differs from
its mean elsewhere. If labels fit raw, the difference is greatest where the labels are. If labels are shifted, it grows
when the labels are moved back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Voxels by which labels are moved at most, zyx; no more than a quarter of what is looked at.
FURTHEST = (4, 24, 24)
#: Fewer border voxels than this say nothing.
FEWEST = 200


@dataclass(frozen=True)
class BorderFit:
    """The mean of raw at label borders minus its mean elsewhere, in deviations of raw.

    Attributes:
        here: where the labels are.
        best: the value furthest from 0 that has been found for moved labels.
        move: zyx in voxels, by which labels must be moved to get `best`.
    """

    here: float
    best: float
    move: tuple[int, int, int]

    @property
    def share(self) -> float:
        """`here` as a share of `best`: 1 if labels fit raw, 0 or below if they do not fit at all."""
        return self.here / self.best if self.best else 1.0


def borders(labels: npt.NDArray[np.integer[Any]], isotropic: bool) -> npt.NDArray[np.bool_]:
    """Whether a voxel has a neighbour of another label; 0 is no label. Thin sections are looked at one by one.

    Args:
        labels: integers (z, y, x).
        isotropic: whether neighbours along z count.

    Returns:
        bool (z, y, x).
    """
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1, 2) if isotropic else (1, 2):
        turned, marked = np.moveaxis(labels, axis, 0), np.moveaxis(found, axis, 0)
        differ = (turned[1:] != turned[:-1]) & (turned[1:] > 0) & (turned[:-1] > 0)
        marked[1:] |= differ
        marked[:-1] |= differ
    return found


def fit_borders(
    cubes: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.integer[Any]]]], isotropic: bool
) -> BorderFit | None:
    """The move of the labels at which their borders differ most from the rest of the picture.

    Args:
        cubes: raw (z, y, x), normalised, and labels of the same voxels; all cubes of one shape.
        isotropic: see `borders`.

    Returns:
        The fit over all cubes together; None if labels have too few borders, or raw has one value.
    """
    from scipy import fft

    shape = cubes[0][0].shape
    reach = [min(far, n // 4) for far, n in zip(FURTHEST, shape, strict=True)]
    inner = tuple(slice(r, n - r) for r, n in zip(reach, shape, strict=True))
    total, count = np.zeros(shape), 0
    for raw, labels in cubes:
        border = np.zeros(shape, np.float32)
        border[inner] = borders(labels, isotropic)[inner]
        spread = float(raw.std())
        if spread == 0:
            continue
        # The borders keep `reach` away from the faces, so that the circular correlation never meets its end.
        raw_spectrum = fft.rfftn((raw - raw.mean()) / spread)
        total += fft.irfftn(raw_spectrum * np.conj(fft.rfftn(border)), shape)
        count += int(border.sum())
    if count < FEWEST:
        return None
    means = np.roll(total / count, reach, (0, 1, 2))[tuple(slice(0, 2 * r + 1) for r in reach)]
    place = np.unravel_index(int(np.abs(means).argmax()), means.shape)
    move = tuple(int(p) - r for p, r in zip(place, reach, strict=True))
    return BorderFit(float(means[tuple(reach)]), float(means[place]), (move[0], move[1], move[2]))
