"""Pyramids in plain Python, to compare those of an export with."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Voxels = npt.NDArray[Any]
Triple = tuple[int, int, int]


def mode(ids: list[int]) -> int:
    """The most frequent id; background last among equals, then the first."""
    counts = Counter(ids)
    return max(counts, key=lambda id_: (counts[id_], id_ != 0, -ids.index(id_)))


def mean(values: list[int]) -> int:
    """The mean of whole numbers; halves go to the even number."""
    return round(Fraction(sum(values), len(values)))


def halved(children: Voxels, begin: Triple, step: Triple, reduce: Callable[[list[int]], int]) -> Voxels:
    """Every cell that has a child, reduced from those of its children that are in the array.

    Args:
        children: (z, y, x).
        begin: position of the first child.
        step: children of a cell along each axis.
        reduce: from children in scan order to the cell.
    """
    low = [b // s for b, s in zip(begin, step, strict=True)]
    high = [-(-(b + n) // s) for b, n, s in zip(begin, children.shape, step, strict=True)]
    cells = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1)
    found, inside = [], []
    for place in itertools.product(*map(range, step)):
        at = cells * step + place - begin
        inside.append(((at >= 0) & (at < children.shape)).all(-1))
        found.append(children[tuple(np.moveaxis(np.clip(at, 0, np.subtract(children.shape, 1)), -1, 0))])
    rows = np.stack([*found, *(each.astype(children.dtype) for each in inside)], -1).reshape(-1, 2 * len(found))
    different, which = np.unique(rows, axis=0, return_inverse=True)
    reduced = [reduce([int(v) for v, known in zip(*np.split(row, 2), strict=True) if known]) for row in different]
    return np.asarray(reduced, children.dtype)[which].reshape(cells.shape[:3])


def pyramid(whole: Voxels, region: tuple[Triple, Triple], steps: list[Triple], is_label: bool) -> list[Voxels]:
    """The levels above level 0, in arrays of the full shape with 0 outside the region.

    Args:
        whole: level 0, (z, y, x) or (C, z, y, x).
        region: begin and end of what is exported, in voxels of level 0.
        steps: of each level above level 0.
        is_label: whether cells are modes; otherwise means.
    """
    if whole.ndim == 4:
        channels = [pyramid(channel, region, steps, is_label) for channel in whole]
        return [np.stack(level) for level in zip(*channels, strict=True)]
    shape, (begin, end), levels = whole.shape, region, []
    children = whole[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))]
    for step in steps:
        children = halved(children, begin, step, mode if is_label else mean)
        shape = tuple(-(-n // s) for n, s in zip(shape, step, strict=True))
        begin = tuple(b // s for b, s in zip(begin, step, strict=True))  # type: ignore[assignment]
        level = np.zeros(shape, whole.dtype)
        level[tuple(slice(b, b + n) for b, n in zip(begin, children.shape, strict=True))] = children
        levels.append(level)
    return levels
