"""Objects of which the centre line is known, and their skeletons from blocks of any shape."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.kernels.cells import Nodes, Size, context_of, graph_of, nodes_of
from fgnet_pipeline.kernels.tree import Tree, tree_of

Labels = npt.NDArray[np.uint32]
Point = tuple[float, float, float]


class Shape(NamedTuple):
    """One object (two of `touching`), and what its skeleton must be.

    Attributes:
        labels: uint32 (z, y, x).
        length: of the centre line, voxels.
        ends: of the centre line.
    """

    labels: Labels
    length: float
    ends: int


def tubes(shape: tuple[int, int, int], *axes: tuple[Point, Point], radius: float = 5.0) -> Labels:
    """Voxels within `radius` of line segments, cut off flat at their ends."""
    places = np.moveaxis(np.indices(shape), 0, -1).astype(np.float64)
    labels = np.zeros(shape, np.uint32)
    for begin, end in axes:
        way = np.subtract(end, begin)
        along = (places - begin) @ way / (way @ way)
        away = np.linalg.norm(places - begin - along[..., None] * way, axis=-1)
        labels[(away <= radius) & (along >= 0) & (along <= 1)] = 1
    return labels


def _ring() -> Labels:
    z, y, x = np.indices((30, 80, 80))
    away = np.hypot(np.hypot(y - 40, x - 40) - 28, z - 15)
    return (away <= 5).astype(np.uint32)


def _hairpin() -> Labels:
    """Two parallel tubes 3 voxels apart, joined at one end."""
    return tubes((30, 40, 100), ((15, 12, 5), (15, 12, 90)), ((15, 12, 90), (15, 26, 90)), ((15, 26, 90), (15, 26, 5)))


SHAPES = {
    "straight": Shape(tubes((30, 40, 100), ((15, 20, 5), (15, 20, 95))), 90, 2),
    "diagonal": Shape(tubes((60, 60, 60), ((8, 8, 8), (52, 52, 52))), 44 * 3**0.5, 2),
    "along a face": Shape(tubes((30, 48, 100), ((15, 24, 5), (15, 24, 95))), 90, 2),
    "L": Shape(tubes((30, 80, 80), ((15, 10, 10), (15, 10, 70)), ((15, 10, 10), (15, 70, 10))), 120, 2),
    "T": Shape(tubes((60, 70, 90), ((30, 20, 5), (30, 20, 85)), ((30, 20, 45), (30, 65, 45))), 125, 3),
    "Y": Shape(
        tubes((30, 100, 100), ((15, 50, 50), (15, 50, 5)), ((15, 50, 50), (15, 10, 90)), ((15, 50, 50), (15, 90, 90))),
        45 + 2 * 40 * 2**0.5,
        3,
    ),
    # A ring of 2 pi 28 voxels is opened at the place that is farthest from its begin.
    "ring": Shape(_ring(), 2 * np.pi * 28, 2),
    "hairpin": Shape(_hairpin(), 85 + 14 + 85, 2),
}


def nodes_in_blocks(labels: Labels, block: tuple[int, int, int], voxel_size: Size) -> Nodes:
    """The nodes of all labels, found in blocks."""
    context, found = context_of(voxel_size), []
    for begin in itertools.product(*(range(0, n, b) for n, b in zip(labels.shape, block, strict=True))):
        read = np.maximum(np.subtract(begin, context), 0)
        end = np.minimum(np.add(begin, block), labels.shape)
        around = labels[tuple(slice(b, e + c) for b, e, c in zip(read, end, context, strict=True))]
        found.append(nodes_of(around, vector(read), Box(vector(begin - read), vector(end - read)), voxel_size))
    return Nodes(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def trees(labels: Labels, block: tuple[int, int, int], voxel_size: Size) -> dict[int, Tree]:
    """The skeletons of all labels, found in blocks."""
    nodes = nodes_in_blocks(labels, block, voxel_size)
    chosen = {int(label): nodes.labels == label for label in np.unique(nodes.labels)}
    return {
        label: tree_of(graph_of(Nodes(*(values[rows] for values in nodes)), voxel_size), voxel_size)
        for label, rows in chosen.items()
    }


def length(tree: Tree, voxel_size: Size) -> float:
    """The length of all edges, nm."""
    steps = (tree.nodes - tree.nodes[tree.parents]) * np.asarray(voxel_size)
    return float(np.linalg.norm(steps, axis=1)[tree.parents >= 0].sum())


def ends(tree: Tree) -> int:
    """How many nodes have one edge."""
    linked = tree.parents[tree.parents >= 0]
    return int((np.bincount(linked, minlength=len(tree.nodes)) + (tree.parents >= 0) == 1).sum())
