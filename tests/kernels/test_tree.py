"""Centre lines have the length and the ends of the object, in one tree, whatever the shape of blocks."""

from __future__ import annotations

import kimimaro
import numpy as np
import pytest
from scipy.spatial import KDTree
from shapes import SHAPES, ends, length, nodes_in_blocks, trees, tubes

from fgnet_pipeline.kernels.cells import Graph, Nodes, graph_of, neighbours
from fgnet_pipeline.kernels.tree import CONSTANT, SCALE, tree_of

CUBE = (40.0, 40.0, 40.0)


@pytest.mark.parametrize("name", SHAPES)
def test_a_line_has_the_length_and_the_ends_of_its_object(name: str) -> None:
    shape = SHAPES[name]
    tree = trees(shape.labels, shape.labels.shape, CUBE)[1]
    assert length(tree, CUBE) == pytest.approx(40 * shape.length, rel=0.1)
    assert ends(tree) == shape.ends
    assert (tree.parents < 0).sum() == 1  # one tree: all other nodes have one edge to their parent
    assert (shape.labels[tuple(tree.nodes.T)] == 1).all()
    for block in [(32, 32, 32), (24, 20, 28), (16, 24, 40)]:
        for one, other in zip(tree, trees(shape.labels, block, CUBE)[1], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("block", [(60, 70, 90), (32, 32, 32), (24, 20, 28), (7, 9, 11)])
def test_a_branching_tube_of_flat_voxels(block: tuple[int, int, int]) -> None:
    voxel_size = (48.0, 40.0, 32.0)
    labels = SHAPES["T"].labels
    tree = trees(labels, block, voxel_size)[1]
    assert length(tree, voxel_size) == pytest.approx(80 * 32 + 45 * 40, rel=0.1)
    assert ends(tree) == 3 and (tree.parents < 0).sum() == 1
    assert (labels[tuple(tree.nodes.T)] == 1).all()


@pytest.mark.parametrize("name", ["L", "Y", "diagonal"])
def test_a_line_lies_where_kimimaro_finds_it(name: str) -> None:
    labels = SHAPES[name].labels
    theirs = kimimaro.skeletonize(labels.T, anisotropy=CUBE, dust_threshold=0, fix_borders=False, progress=False)[1]
    ours = trees(labels, (24, 20, 28), CUBE)[1]
    away, _ = KDTree(theirs.vertices[:, ::-1]).query(ours.nodes * 40)
    assert np.median(away) < 2 * 40 and away.max() < 7 * 40  # an end of kimimaro lies in a corner of a flat end
    assert length(ours, CUBE) == pytest.approx(theirs.cable_length(), rel=0.15)
    assert ends(ours) == (np.bincount(theirs.edges.reshape(-1).astype(int)) == 1).sum()


def test_a_blob_is_a_short_line_through_its_centre() -> None:
    away = np.linalg.norm(np.moveaxis(np.indices((70, 70, 70)), 0, -1) - 35, axis=-1)
    for block in [(70, 70, 70), (24, 20, 28)]:
        tree = trees((away <= 30).astype(np.uint32), block, CUBE)[1]
        assert ends(tree) == 2 and length(tree, CUBE) < 1.1 * 2 * 30 * 40
        assert tree.radii.max() == pytest.approx(30 * 40, rel=0.1)  # deeper than what a block sees
        assert np.linalg.norm(tree.nodes[0] - 35) < 8  # the root is the thickest node


def test_a_radius_is_the_distance_from_the_surface() -> None:
    tree = trees(SHAPES["straight"].labels, (32, 32, 32), CUBE)[1]
    inner = (tree.nodes[:, 2] > 15) & (tree.nodes[:, 2] < 85)
    np.testing.assert_allclose(tree.radii[inner], 5.5 * 40, atol=40)


def test_parts_of_an_object_that_do_not_touch_are_trees_of_their_own() -> None:
    labels = tubes((30, 60, 60), ((15, 15, 5), (15, 15, 50)), ((15, 45, 5), (15, 45, 50)))
    tree = trees(labels, (24, 20, 28), CUBE)[1]
    assert (tree.parents < 0).sum() == 2 and ends(tree) == 4
    assert (tree.parents < np.arange(len(tree.parents))).all()  # parents come first


def test_a_bump_within_the_covered_distance_gives_no_branch() -> None:
    tube = ((15, 20, 5), (15, 20, 95))
    covered = SCALE * 5 + CONSTANT / 40  # voxels from the centre line
    for high, branches in ((0.7, False), (2.0, True)):
        bump = ((15, 20, 50), (15, 20 + high * covered, 50))
        labels = tubes((30, 70, 100), tube, bump, radius=5)
        assert (ends(trees(labels, labels.shape, CUBE)[1]) == 3) == branches


def test_lines_do_not_depend_on_the_order_of_rows() -> None:
    labels = SHAPES["Y"].labels
    nodes = nodes_in_blocks(labels, (24, 20, 28), CUBE)
    order = np.random.default_rng(0).permutation(len(nodes.labels))
    one, other = (tree_of(graph_of(each, CUBE), CUBE) for each in (nodes, Nodes(*(values[order] for values in nodes))))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_star_of_short_ends_keeps_its_centre() -> None:
    nodes = np.array([[8, 8, 8], [8, 8, 40], [8, 40, 8], [40, 8, 8]], np.int32)
    begins, others = neighbours(np.array([[0, 1], [0, 2], [0, 3]], np.int32), 4)
    graph = Graph(nodes, np.array([2000, 1, 1, 1], np.float32), begins, others)
    tree = tree_of(graph, CUBE)
    assert len(tree.nodes) >= 1 and (tree.parents < 0).sum() == 1
    np.testing.assert_array_equal(tree.nodes[0], nodes[0])
