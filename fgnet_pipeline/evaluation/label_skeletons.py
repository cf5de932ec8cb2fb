"""Skeletons of labels, made block by block with the kernels of the skeletons that `fgnet export` writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.evaluation.blockwise import lattice
from fgnet_pipeline.evaluation.evaluate import Comparison
from fgnet_pipeline.evaluation.protocols import FGNET
from fgnet_pipeline.evaluation.skeleton_files import Skeleton
from fgnet_pipeline.kernels.cells import Nodes, Size, context_of, graph_of, nodes_of
from fgnet_pipeline.kernels.relabel import places
from fgnet_pipeline.kernels.segment_rows import summed_by
from fgnet_pipeline.kernels.tree import tree_of
from fgnet_pipeline.store.frame import Frame

FIELD = "--skeletons-from-labels"
#: Voxels along each axis that are read at a time, without context.
_BLOCK = (128, 128, 128)
#: Labels of fewer voxels have no skeleton: one speck of a voxel or two would make a merger of the segment around it.
DUST = 1000
Ids = npt.NDArray[np.uint64]


def skeletons_of_labels(comparison: Comparison, frame: Frame | None) -> list[Skeleton]:
    """The centre lines of all labels of at least `DUST` voxels, whether the segmentation was computed there or not.

    A skeleton is named by its label. The parts of a label that do not touch are separate trees of one skeleton.

    Args:
        comparison: of a segmentation against labels.
        frame: of the segmentation; None if neither array states a voxel size.

    Raises:
        InputError: no voxel size, or no large label.
    """
    if frame is None:
        expected = "labels or a segmentation with a voxel size, since lengths are in nm"
        raise InputError(FIELD, "true", expected, "give one of them the attributes voxel_size and offset")
    everything = replace(comparison, protocol=FGNET, computed=None)
    large = _large_labels(everything)
    if not len(large):
        expected = f"at least one label of {DUST} voxels"
        raise InputError(FIELD, "true", expected, "choose a region that holds larger labels, or give --skeletons")
    parts: dict[int, list[Nodes]] = defaultdict(list)
    for box in lattice(everything.overlap(), _BLOCK, (0, 0, 0)):
        for label, nodes in _nodes_of_block(everything, box, large, frame.voxel_size):
            parts[label].append(nodes)
    return [_skeleton(label, parts.pop(label), frame) for label in sorted(parts)]


def _large_labels(comparison: Comparison) -> Ids:
    """The labels of at least `DUST` voxels, rising."""
    table = comparison.contingency()
    ids, voxels = summed_by(table.labels, table.counts)
    return ids[voxels >= DUST]


def _nodes_of_block(comparison: Comparison, box: Box, large: Ids, size: Size) -> Iterator[tuple[int, Nodes]]:
    """Yield (label, nodes in voxels of the common grid) of every large label in a block."""
    context = context_of(size)
    read = box.grow(context, context).intersect(comparison.overlap())
    _, labels = comparison.voxels(read)
    ids = np.append(np.uint64(0), large)  # all are above 0
    at, known = places(ids, labels)
    numbers = np.where(known, at, 0)
    core = Box(vector(np.subtract(box.begin, read.begin)), vector(np.subtract(box.end, read.begin)))
    nodes = nodes_of(numbers.astype(np.uint32), read.begin, core, size)
    found, first = np.unique(nodes.labels, return_index=True)
    for number, begin, end in zip(found, first, np.append(first[1:], len(nodes.labels)), strict=True):
        rows = slice(begin, end)
        mine = Nodes(nodes.labels[rows], nodes.voxels[rows], nodes.radii[rows], nodes.parts[rows], nodes.links[rows])
        yield int(ids[number]), mine


def _skeleton(label: int, parts: list[Nodes], frame: Frame) -> Skeleton:
    columns: list[npt.NDArray[Any]] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    nodes = Nodes(*columns)
    tree = tree_of(graph_of(nodes, frame.voxel_size), frame.voxel_size)
    child = np.flatnonzero(tree.parents >= 0)
    places = np.asarray(frame.offset) + (tree.nodes + 0.5) * np.asarray(frame.voxel_size)
    return Skeleton(str(label), places, np.stack([child, tree.parents[child]], axis=1))
