"""Blocks of any shape find the same nodes and links, and these hold together what touches."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from shapes import SHAPES, Labels, nodes_in_blocks, trees

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.kernels.cells import DEPTH, Nodes, cell_shape, context_of, graph_of, nodes_of

CUBE = (10.0, 10.0, 10.0)


def _noise() -> Labels:
    """Objects of many shapes, some of one voxel; 26-connected ones touch others of the same cell."""
    solid = np.random.default_rng(2).random((27, 28, 26)) < 0.33
    return cc3d.connected_components(solid.astype(np.uint32), connectivity=6).astype(np.uint32)


def _sorted(nodes: Nodes) -> list[np.ndarray]:
    order = np.lexsort((*nodes.links.T, *nodes.voxels.T, nodes.labels))
    return [values[order] for values in nodes]


@pytest.mark.parametrize("voxel_size", [CUBE, (40.0, 8.0, 8.0), (4.5, 9.6, 10.0)])
@pytest.mark.parametrize("block", [(16, 16, 16), (9, 27, 20)])
def test_nodes_do_not_depend_on_blocks(block: tuple[int, int, int], voxel_size: tuple[float, float, float]) -> None:
    labels = _noise()
    whole = nodes_in_blocks(labels, labels.shape, voxel_size)
    for one, other in zip(_sorted(whole), _sorted(nodes_in_blocks(labels, block, voxel_size)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_node_does_not_depend_on_which_other_objects_are_labelled() -> None:
    labels = _noise()
    chosen = np.bincount(labels.reshape(-1))[1:].argmax() + 1
    every, alone = (
        nodes_in_blocks(each.astype(np.uint32), labels.shape, CUBE)
        for each in (labels, np.where(labels == chosen, chosen, 0))
    )
    rows = every.labels == chosen
    for one, other in zip(every, alone, strict=True):
        np.testing.assert_array_equal(one[rows], other)


def test_every_object_is_one_tree_with_its_nodes_inside() -> None:
    labels = _noise()
    found = trees(labels, (16, 16, 16), CUBE)
    assert found.keys() == set(np.unique(labels)) - {0}
    for label, tree in found.items():
        assert (tree.parents < 0).sum() == 1, label
        assert (labels[tuple(tree.nodes.T)] == label).all()


def test_objects_that_touch_stay_apart() -> None:
    tube = SHAPES["straight"].labels
    labels = tube + 2 * np.roll(tube, 11, axis=1)  # the surfaces touch over the whole length
    assert set(np.unique(labels)) == {0, 1, 2}
    found = trees(labels, (24, 20, 28), CUBE)
    for label, tree in found.items():
        assert (labels[tuple(tree.nodes.T)] == label).all()
    alone = trees(tube, tube.shape, CUBE)[1]
    np.testing.assert_array_equal(found[1].nodes, alone.nodes)


def test_cells_are_about_as_long_along_every_axis() -> None:
    assert cell_shape(CUBE) == (8, 8, 8) and context_of(CUBE) == (15 + DEPTH,) * 3
    assert cell_shape((40.0, 8.0, 8.0)) == (2, 8, 8)
    assert cell_shape((100.0, 4.0, 4.0)) == (1, 8, 8)


def test_a_missing_node_is_noticed() -> None:
    labels = SHAPES["straight"].labels
    nodes = nodes_in_blocks(labels, labels.shape, CUBE)
    linked = graph_of(nodes, CUBE).nodes[5]
    kept = (nodes.voxels != linked).any(axis=1)
    with pytest.raises(ValueError, match="missing"):
        graph_of(Nodes(*(values[kept] for values in nodes)), CUBE)


def test_an_empty_block_has_no_nodes() -> None:
    empty = nodes_of(np.zeros((9, 9, 9), np.uint32), (0, 0, 0), Box((0, 0, 0), (9, 9, 9)), CUBE)
    assert [len(values) for values in empty] == [0] * 5
    assert empty.links.shape == (0, 13)
