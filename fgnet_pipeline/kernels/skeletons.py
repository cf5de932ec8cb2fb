"""Centre lines of the labels of one block, which meet those of its neighbours.

1. A block sees `CONTEXT` voxels around itself. So an object that a face cuts lengthwise has its line in its centre.
2. Neighbours share the first plane of voxels beyond the upper faces of a block, and see the same outlines of a label in
   it. One point of every outline, which depends on the outline alone, must be on the lines of both blocks. So the lines
   of a connected object are connected.
3. The lines in the context stay. Where two blocks find different lines, `fgnet_pipeline.kernels.tree` drops one.

The library kimimaro (https://github.com/seung-lab/kimimaro) finds the lines. It is GPL-3 and an optional package;
nothing else imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import cc3d
import edt
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box

Labels = npt.NDArray[np.uint32]
Size = tuple[float, float, float]
#: Voxels around a block that it sees.
CONTEXT = 16


class Lines(NamedTuple):
    """Centre lines as single edges. A point alone is an edge from itself to itself.

    Attributes:
        labels: uint32 (n,), of the objects, in ascending order.
        ends: int32 (n, 6), the voxels at both ends, zyx and zyx, counted from voxel 0 of the array.
        radii: float32 (n, 2), nm, the distance of both ends from the border of the object.
    """

    labels: npt.NDArray[np.uint32]
    ends: npt.NDArray[np.int32]
    radii: npt.NDArray[np.float32]


def centre_lines(labels: Labels, core: Box, voxel_size: Size) -> Lines:
    """Find the centre lines of the labels of one block.

    Every connected piece (26 neighbours) with a voxel in the block itself gets a line.

    Args:
        labels: uint32 (z, y, x), the block, at least one voxel beyond its upper faces if the volume goes on there, and
            what context there is; 0 is background.
        core: the block itself, in voxels of `labels`.
        voxel_size: nm, zyx.
    """
    pieces: Any = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=26, out_dtype=np.uint32)
    count = int(pieces.max(initial=0))
    is_own, label_of = np.zeros(count + 1, bool), np.zeros(count + 1, np.uint32)
    is_own[pieces[core.slices()]] = True
    is_own[0] = False
    label_of[pieces.reshape(-1)] = labels.reshape(-1)
    pieces[~is_own[pieces]] = 0
    lines = _lines(pieces, np.flatnonzero(is_own), _shared_points(pieces, core, voxel_size), voxel_size)
    found = sorted(((label_of[piece], ends, radii) for piece, ends, radii in lines), key=lambda row: row[0])
    many = [np.full(len(ends), label, np.uint32) for label, ends, _ in found]
    return Lines(
        np.concatenate([np.zeros(0, np.uint32), *many]),
        np.concatenate([np.zeros((0, 6), np.int32), *(ends for _, ends, _ in found)]),
        np.concatenate([np.zeros((0, 2), np.float32), *(radii for _, _, radii in found)]),
    )


def _shared_points(pieces: Labels, core: Box, voxel_size: Size) -> npt.NDArray[np.int64]:
    """The point of every outline in the planes that the block shares with its neighbours, int64 (n, 3), zyx.

    These are the first plane of the block and the first plane beyond it, along each axis. Both blocks look at the same
    part of such a plane.
    """
    window = core.grow((0, 0, 0), (1, 1, 1)).intersect(Box((0, 0, 0), _shape(pieces)))
    found = [np.zeros((0, 3), np.int64)]
    for axis in range(3):
        for plane in {window.begin[axis], core.end[axis]} - {window.end[axis]}:
            where = list(window.slices())
            where[axis] = slice(plane, plane + 1)
            begin = list(window.begin)
            begin[axis] = plane
            outlines = np.squeeze(pieces[tuple(where)], axis)
            sizes = [size for other, size in enumerate(voxel_size) if other != axis]
            points = np.insert(_middles(outlines, sizes), axis, 0, axis=1)
            found.append(points + begin)
    return np.concatenate(found)


def _middles(outlines: Labels, sizes: list[float]) -> npt.NDArray[np.int64]:
    """The point of every connected outline that is farthest from its border; the first in C order of several.

    Args:
        outlines: uint32 (rows, columns), 0 is background; the numbers do not matter.
        sizes: of a pixel in nm, (rows, columns).

    Returns:
        int64 (n, 2).
    """
    parts: Any = cc3d.connected_components(np.ascontiguousarray(outlines), connectivity=8, out_dtype=np.uint32)
    depth = edt.edt(parts, anisotropy=sizes, black_border=True).reshape(-1)
    order = np.lexsort((-depth, parts.reshape(-1)))
    numbers = parts.reshape(-1)[order]
    first = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    first = first if numbers[0] == 0 else np.append(0, first)
    return np.stack(np.unravel_index(order[first], parts.shape), axis=1)


def _shape(array: npt.NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = array.shape
    return z, y, x


def _lines(
    pieces: Labels, numbers: npt.NDArray[np.int64], points: npt.NDArray[np.int64], voxel_size: Size
) -> Iterator[tuple[int, npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
    """Yield (number of the piece, ends (n, 6), radii (n, 2)) of every connected piece, in the order of the numbers.

    Args:
        pieces: numbers of connected pieces.
        numbers: those that get a line.
        points: zyx (n, 3), that must be on the lines.
        voxel_size: nm, zyx.
    """
    import kimimaro

    if len(numbers) == 0:
        return
    found = kimimaro.skeletonize(
        pieces.T, anisotropy=voxel_size[::-1], dust_threshold=0, fix_borders=False, progress=False, parallel=1,
        extra_targets_before=[tuple(point) for point in points[:, ::-1].tolist()],
    )  # fmt: skip
    for number in numbers.tolist():
        line = found.get(number)
        if line is None or len(line.edges) == 0:  # kimimaro passes over pieces of a voxel or two
            ends = _star(pieces, number, points)
            yield number, ends, np.full((len(ends), 2), min(voxel_size) / 2, np.float32)
            continue
        voxels = np.rint(line.vertices / np.asarray(voxel_size[::-1]))[:, ::-1].astype(np.int32)
        yield number, voxels[line.edges].reshape(-1, 6), line.radii[line.edges].astype(np.float32)


def _star(pieces: Labels, number: int, points: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Edges (n, 6) from the first voxel of a piece to itself and to its points of `points` (zyx)."""
    first = np.argwhere(pieces == number)[:1]
    tips = np.concatenate([first, points[pieces[tuple(points.T)] == number]])
    return np.concatenate([np.repeat(first, len(tips), axis=0), tips], axis=1).astype(np.int32)
