"""The pieces of blocks are together exactly the mesh of the whole array."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from fgnet_pipeline.kernels.surface import Piece, pieces

Triangles = npt.NDArray[np.int64]


def _noise(shape: tuple[int, int, int] = (14, 15, 16)) -> npt.NDArray[np.uint32]:
    """Labels with every way in which a cell can be filled, also at the border of the array."""
    return np.random.default_rng(3).integers(0, 4, shape).astype(np.uint32)


def _triangles(piece: Piece, begin: tuple[int, int, int] = (0, 0, 0)) -> Triangles:
    return (piece.vertices + 2 * np.array(begin))[piece.triangles]


def _by_label(labels: npt.NDArray[np.uint32], block: tuple[int, int, int]) -> dict[int, Triangles]:
    padded, found = np.pad(labels, 1), dict[int, list[Triangles]]()
    for begin in itertools.product(*(range(0, n, b) for n, b in zip(labels.shape, block, strict=True))):
        around = padded[tuple(slice(b, b + n + 2) for b, n in zip(begin, block, strict=True))]
        for piece in pieces(around):
            z, y, x = begin
            inside = labels[z : z + block[0], y : y + block[1], x : x + block[2]]
            assert (inside == piece.label).any()
            found.setdefault(piece.label, []).append(_triangles(piece, (z, y, x)))
    return {label: np.concatenate(parts) for label, parts in found.items()}


def _canonical(triangles: Triangles) -> npt.NDArray[np.int64]:
    """Triangles as sorted rows. A triangle begins at its smallest corner, and keeps its direction."""
    codes = triangles @ np.array([1 << 40, 1 << 20, 1])
    turn = (codes.argmin(axis=1)[:, None] + np.arange(3)) % 3
    rows = np.take_along_axis(codes, turn, 1)
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("block", [(5, 6, 7), (8, 8, 8), (3, 16, 2)])
def test_pieces_of_blocks_are_the_mesh_of_the_whole(block: tuple[int, int, int]) -> None:
    labels = _noise()
    whole, parts = _by_label(labels, labels.shape), _by_label(labels, block)
    assert whole.keys() == parts.keys() == {1, 2, 3}
    for label in whole:
        np.testing.assert_array_equal(_canonical(parts[label]), _canonical(whole[label]))


def test_surfaces_are_closed_and_face_outwards() -> None:
    labels = np.zeros((9, 10, 11), np.uint32)
    labels[0:6, 2:7, 3:11] = 5  # touches the border of the array twice
    triangles = _by_label(labels, (4, 4, 4))[5]
    codes = triangles @ np.array([1 << 40, 1 << 20, 1])
    edges = np.concatenate([codes[:, [0, 1]], codes[:, [1, 2]], codes[:, [2, 0]]])
    assert sorted(map(tuple, edges)) == sorted(map(tuple, edges[:, ::-1]))
    corners = triangles[..., ::-1] / 2  # xyz, voxels
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert 0.9 * 240 < volume < 240  # positive: outwards; marching cubes cuts the edges off
    np.testing.assert_array_equal(triangles.min((0, 1)) / 2, [0, 2, 3])
    np.testing.assert_array_equal(triangles.max((0, 1)) / 2, [6, 7, 11])
