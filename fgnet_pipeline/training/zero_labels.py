"""What label 0 means in labels that a network learns from: voxels without label, or membranes.

Many labs draw membranes as 0 (ISBI 2012, SNEMI3D). No two objects touch in such labels. If 0 were ignored, no pair of
voxels would tell the network that two objects are apart, and the network would learn to join everything. Such membranes
are filled: every voxel takes the label of the nearest object, so that objects meet in the middle of the membrane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Zero = Literal["ignore", "membrane"]
#: Longest run of 0 between two objects that may be a membrane, in nm; no membrane that is cut obliquely is wider.
LONGEST_NM = 120.0
#: The same if no voxel size is known, and the least value, in voxels.
LONGEST_VOXELS, SHORTEST_VOXELS = 20, 3
#: Fewer runs than this say nothing.
FEWEST_RUNS = 10
#: Labels have membranes if at most this share of the borders of objects are pairs that touch.
MOST_TOUCHING = 0.1
#: Above this share, few borders are drawn as 0, and ignoring these loses little.
HARDLY_DRAWN = 0.5
#: Sections that are looked at, and sections that are filled at once.
SECTIONS, SLAB = 24, 32


@dataclass(frozen=True)
class ZeroLabels:
    """How the borders between objects are drawn, counted along y and x on sections at fixed positions.

    Attributes:
        touching: neighbouring pairs of voxels with two different labels.
        divided: runs of 0 between two different labels, thin enough for a membrane.
        reach: voxels on either side that fill these runs.
    """

    touching: int
    divided: int
    reach: int

    @property
    def touching_share(self) -> float:
        """Share of the borders at which objects touch, 0 to 1; 1 if no border was found."""
        found = self.touching + self.divided
        return self.touching / found if found else 1.0

    @property
    def choice(self) -> Zero:
        """What 0 means, judged by the borders."""
        drawn = self.divided >= FEWEST_RUNS and self.touching_share <= MOST_TOUCHING
        return "membrane" if drawn else "ignore"

    @property
    def is_doubtful(self) -> bool:
        """True if some borders are drawn as 0 and others are not."""
        return self.divided >= FEWEST_RUNS and MOST_TOUCHING < self.touching_share <= HARDLY_DRAWN


def look_at_zero(labels: npt.NDArray[np.integer[Any]], voxel_size: tuple[float, float, float] | None) -> ZeroLabels:
    """Count how borders between objects are drawn.

    Args:
        labels: integers (z, y, x), 0 = membrane or no label.
        voxel_size: zyx in nm; None if it is not known.
    """
    longest = LONGEST_VOXELS
    if voxel_size is not None:
        longest = max(SHORTEST_VOXELS, round(LONGEST_NM / min(voxel_size[1:])))
    step = max(1, labels.shape[0] // SECTIONS)
    gaps = np.concatenate([_gaps(lines) for lines in _lines(labels[::step])])
    runs = gaps[(gaps > 0) & (gaps <= longest)]
    reach = 1 + int(np.ceil(np.percentile(runs, 90) / 2)) if runs.size else 1
    return ZeroLabels(int((gaps == 0).sum()), int(runs.size), reach)


def _lines(labels: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Lines along x, then lines along y, as (lines, voxels)."""
    yield labels.reshape(-1, labels.shape[2])
    yield np.ascontiguousarray(labels.transpose(0, 2, 1)).reshape(-1, labels.shape[1])


def _gaps(lines: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Number of voxels of 0 between one label and the next one on its line, if that is another label."""
    place = np.flatnonzero(lines)
    before, after = place[:-1], place[1:]
    values = lines.ravel()
    count = lines.shape[1]
    differ = (before // count == after // count) & (values[before] != values[after])
    return (after - before - 1)[differ]


def fill_membranes(
    labels: npt.NDArray[np.integer[Any]], membrane: npt.NDArray[np.bool_], reach: int, isotropic: bool
) -> npt.NDArray[Any]:
    """Labels grown over membranes: a membrane voxel takes the label of the nearest object (Euclidean, in voxels).

    Args:
        labels: integers (z, y, x), 0 = membrane or no label.
        membrane: bool (z, y, x), the voxels that may be filled; 0 elsewhere stays 0.
        reach: voxels; a voxel further away from every object stays 0.
        isotropic: if False, the nearest object of the same section is taken, because sections are drawn one by one.

    Returns:
        A copy (z, y, x) of the same dtype.
    """
    result = labels.copy()
    size, context = (SLAB, reach) if isotropic else (1, 0)
    for begin in range(0, labels.shape[0], size):
        low, high = max(0, begin - context), min(labels.shape[0], begin + size + context)
        inner = slice(begin - low, begin - low + size)
        part = labels[low:high]
        if not (membrane[begin : begin + size]).any() or not part.any():
            continue
        distance, nearest = ndimage.distance_transform_edt(part == 0, return_indices=True)
        grown = part[tuple(nearest)]
        fills = membrane[low:high] & (distance <= reach)
        result[begin : begin + size] = np.where(fills, grown, part)[inner]
    return result
