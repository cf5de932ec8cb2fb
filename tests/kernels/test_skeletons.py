"""Lines of single blocks become one tree per connected object."""

from __future__ import annotations

import itertools
from functools import cache

import cc3d
import numpy as np
import numpy.typing as npt
import pytest

from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.kernels.skeletons import CONTEXT, centre_lines
from fgnet_pipeline.kernels.tree import Tree, tree_of

VOXEL = (48.0, 40.0, 32.0)
Labels = npt.NDArray[np.uint32]


@cache
def _branching() -> Labels:
    """A tube along x with a branch along y. Faces of blocks cut it lengthwise."""
    labels = np.zeros((60, 70, 90), np.uint32)
    z, y, x = np.indices(labels.shape)
    labels[((z - 30) ** 2 + (y - 20) ** 2 < 25) & (x >= 5) & (x < 85)] = 1
    labels[((z - 30) ** 2 + (x - 45) ** 2 < 25) & (y >= 20) & (y < 65)] = 1
    return labels


def _trees(labels: Labels, block: tuple[int, int, int]) -> dict[int, Tree]:
    ends, radii, names = [], [], []
    for begin in itertools.product(*(range(0, n, b) for n, b in zip(labels.shape, block, strict=True))):
        read = np.maximum(np.subtract(begin, CONTEXT), 0)
        end = np.minimum(np.add(begin, block), labels.shape)
        around = labels[tuple(slice(b, e + CONTEXT) for b, e in zip(read, end, strict=True))]
        lines = centre_lines(around, Box(vector(begin - read), vector(end - read)), VOXEL)
        ends.append(lines.ends + np.tile(read, 2).astype(np.int32))
        radii.append(lines.radii)
        names.append(lines.labels)
    all_ends, all_radii, all_names = np.concatenate(ends), np.concatenate(radii), np.concatenate(names)
    chosen = [(int(name), all_names == name) for name in np.unique(all_names)]
    return {name: tree_of(all_ends[rows], all_radii[rows], VOXEL) for name, rows in chosen}


def _length(tree: Tree) -> float:
    steps = (tree.nodes - tree.nodes[tree.parents]) * VOXEL
    return float(np.linalg.norm(steps, axis=1)[tree.parents >= 0].sum())


def _ends(tree: Tree) -> int:
    degrees = np.bincount(tree.parents[tree.parents >= 0], minlength=len(tree.nodes)) + (tree.parents >= 0)
    return int((degrees == 1).sum())


@pytest.mark.parametrize("block", [(60, 70, 90), (32, 32, 32)])
def test_a_branching_tube_is_one_tree_of_the_right_length(block: tuple[int, int, int]) -> None:
    tree = _trees(_branching(), block)[1]
    assert (tree.parents < 0).sum() == 1
    assert (_branching()[tuple(tree.nodes.T)] == 1).all()
    assert _ends(tree) in (3, 4)  # the root, which is the thickest node, may lie beside the line
    assert _length(tree) == pytest.approx(80 * 32 + 45 * 40, rel=0.15)


@pytest.mark.parametrize("block", [(5, 6, 7), (8, 8, 8)])
def test_every_connected_object_is_one_tree(block: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(2).random((17, 18, 16)) < 0.35  # also objects of one voxel
    labels = cc3d.connected_components(noise.astype(np.uint32), connectivity=6).astype(np.uint32)
    trees = _trees(labels, block)
    assert trees.keys() == set(np.unique(labels)) - {0}
    for label, tree in trees.items():
        assert (tree.parents < 0).sum() == 1, label
        assert (labels[tuple(tree.nodes.T)] == label).all()


def test_lines_do_not_depend_on_the_order_of_edges() -> None:
    rng = np.random.default_rng(0)
    ends = rng.integers(0, 6, (60, 6)).astype(np.int32)
    radii = rng.random((60, 2)).astype(np.float32)
    order = rng.permutation(60)
    one, other = tree_of(ends, radii, VOXEL), tree_of(ends[order][:, [3, 4, 5, 0, 1, 2]], radii[order][:, ::-1], VOXEL)
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_ring_is_opened_and_a_parallel_line_is_dropped() -> None:
    along = np.stack([np.zeros(40), np.zeros(40), np.arange(40)], 1)
    beside = np.add(along, [0, 3, 0])
    rungs = np.concatenate([along[[0, 39]], beside[[0, 39]]], 1)
    edges = [np.concatenate([line[:-1], line[1:]], 1) for line in (along, beside)]
    ends = np.concatenate([*edges, rungs]).astype(np.int32)
    tree = tree_of(ends, np.full((len(ends), 2), 40, np.float32), (10.0, 10.0, 10.0))
    assert (tree.parents < 0).sum() == 1 and len(tree.nodes) < 50
