"""Triangle meshes of the labels of one block, which meet those of its neighbours exactly.

Marching cubes looks at *cells*: cubes of 2 x 2 x 2 voxel centres. A block reads one voxel around itself, so several
blocks see the cells on its faces. A triangle of a label belongs to one of these blocks alone: to the first one, in C
order, that holds a voxel of the label in the cell of the triangle. Every block finds the same triangles in such a cell,
because they depend on the cell alone. So the pieces of all blocks are together exactly the mesh of the whole volume: no
gap, and no wall twice. No block has a piece of a label of which it holds no voxel.

The library zmesh (LGPL-3) makes the triangles.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint32]
#: The 8 voxels of a cell, as steps from the first one.
_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))


class Piece(NamedTuple):
    """The part of the surface of one label that belongs to one block.

    Attributes:
        label: of the object.
        vertices: int64 (n, 3), zyx, in half voxels: 0 is the corner of the first voxel of the block, 1 its centre.
        triangles: uint32 (m, 3), counter-clockwise seen from outside in a right-handed x, y, z system.
    """

    label: int
    vertices: npt.NDArray[np.int64]
    triangles: npt.NDArray[np.uint32]


def pieces(labels: Labels) -> Iterator[Piece]:
    """Mesh the labels of one block.

    Args:
        labels: uint32 (z, y, x): the block with one voxel around it; 0 is background, and everything outside the volume
            is 0, so that surfaces are closed there.

    Yields:
        The pieces that belong to the block, in the order of the labels; none that is empty.
    """
    from zmesh import Mesher

    mesher = Mesher((1, 1, 1))
    # zmesh calls the first axis x. In the transposed array this is x, so the triangles face outwards.
    mesher.mesh(np.ascontiguousarray(labels).T)
    for label in sorted(mesher.ids()):
        mesh = mesher.get(label, normals=False, reduction_factor=0)
        mesher.erase(label)
        if mesh.faces is None or len(mesh.faces) == 0:
            continue
        doubled = np.rint(2 * mesh.vertices[:, ::-1].astype(np.float64)).astype(np.int64)
        triangles = mesh.faces[_is_own(labels, label, doubled[mesh.faces])]
        if len(triangles):
            used, places = np.unique(triangles, return_inverse=True)
            # Voxel 1 of `labels` is the first of the block, and zmesh counts from the centres of voxels.
            yield Piece(int(label), doubled[used] - 1, places.reshape(-1, 3).astype(np.uint32))


def _is_own(labels: Labels, label: int, corners: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which triangles belong to the block.

    Args:
        labels: as of `pieces`.
        label: of the object.
        corners: int64 (m, 3, 3), the corners of the triangles in half voxels, zyx, 0 = centre of voxel 0 of `labels`.

    Returns:
        bool (m,).
    """
    last = np.asarray(labels.shape) - 2  # the last voxel of the block
    cells = corners.sum(axis=1) // 6  # the mean of the corners lies inside the cell
    own = ((cells > 0) & (cells < last)).all(axis=1)
    shared = np.flatnonzero(~own)
    voxels = cells[shared, None] + _CORNERS
    holds = labels[tuple(np.moveaxis(voxels, -1, 0))] == label
    blocks = (voxels > 0).astype(np.int64) + (voxels > last)  # per axis: 0 before, 1 this block, 2 after
    order = np.where(holds, blocks @ (9, 3, 1), 27)
    own[shared] = order.min(axis=1) == 13
    return own
