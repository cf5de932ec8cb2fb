"""The voxels of objects, thinned to a graph that does not depend on blocks.

Volumes are divided into small *cells*, anchored at voxel 0. The voxels of one object in one cell that are connected to
each other are a *node*. It stands at the voxel of them that is deepest inside the object, and its radius is the depth
there. Two nodes of an object are linked if voxels of them touch (26 neighbours).

1. A node depends on its cell and on the voxels within `DEPTH` of it, nothing else. A block sees that much around itself
   (`context_of`). So every block finds the same nodes and links, however the volume is divided.
2. A node belongs to the block that holds its voxel. So the nodes of all blocks together are those of the whole volume.
3. Depths are known up to `DEPTH`. `fgnet_pipeline.kernels.tree` estimates greater ones from the nodes near the surface.

Inside an object there is one node per cell, so the graph of an object is hundreds of times smaller than its voxels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cc3d
import edt
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.kernels.compiled import njit

Labels = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]
Size = tuple[float, float, float]
#: Side of a cell, in voxels along the shortest axis of a voxel. Along the others a cell is as long in nm as it can be.
SIDE = 8
#: The depth up to which depths are known, in voxels along the shortest axis of a voxel. Of a cell that the surface
#: of an object cuts, nearly all voxels are less deep.
DEPTH = 12
#: Directions from a cell to those of its 26 neighbours that come after it in C order.
FORWARD = np.array([(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)][14:])


class Nodes(NamedTuple):
    """Nodes and their links. A node that touches two nodes in one neighbouring cell has a second row, and so on.

    Attributes:
        labels: uint32 (n,), of the objects, in ascending order.
        voxels: int32 (n, 3), zyx, of the volume.
        radii: float32 (n,), nm, at most `DEPTH` voxels.
        parts: uint8 (n,), the number of the node among those of its object in its cell: 1, 2, 3, ...
        links: uint8 (n, 13), per direction of `FORWARD` the number of the linked node there; 0 = none.
    """

    labels: npt.NDArray[np.uint32]
    voxels: npt.NDArray[np.int32]
    radii: npt.NDArray[np.float32]
    parts: npt.NDArray[np.uint8]
    links: npt.NDArray[np.uint8]


def cell_shape(voxel_size: Size) -> Vector:
    """Voxels of a cell along each axis, zyx."""
    sizes = np.asarray(voxel_size)
    return vector(np.maximum(1, np.rint(SIDE * sizes.min() / sizes)))


def context_of(voxel_size: Size) -> Vector:
    """Voxels that a block must see around itself along each axis, zyx.

    A node of the block may be at its last voxel. Its cell, the next cell, and the depths in that cell must be seen.
    """
    sizes = np.asarray(voxel_size)
    return vector(2 * np.asarray(cell_shape(voxel_size)) - 1 + np.ceil(DEPTH * sizes.min() / sizes))


def nodes_of(labels: Labels, begin: Vector, core: Box, voxel_size: Size) -> Nodes:
    """Find the nodes of the objects in one block.

    The border of the array counts as no surface, so an object may go on beyond the volume.

    Args:
        labels: uint32 (z, y, x), the block and what there is of its context; 0 is background, all are below 2^29.
        begin: the first voxel of `labels` in the volume, zyx.
        core: the block itself, in voxels of `labels`.
        voxel_size: nm, zyx.
    """
    deepest, cell = DEPTH * min(voxel_size), np.asarray(cell_shape(voxel_size))
    depth = np.minimum(edt.edt(labels, anisotropy=voxel_size, black_border=False), np.float32(deepest))
    # The rest needs only the cells of the nodes of this block, and the next ones.
    near = _around(core, 2 * cell - 1, labels)
    first, labels, depth = np.add(begin, near.begin), labels[near.slices()], depth[near.slices()]
    core = Box(vector(np.subtract(core.begin, near.begin)), vector(np.subtract(core.end, near.begin)))
    pieces = _pieces(labels, first, cell)
    # Whole steps: the last bit of a depth may depend on the array around the object.
    steps = np.rint(depth * (1024 / deepest)).astype(np.int32)
    at = _deepest(pieces, steps, first, cell, int(pieces.max(initial=0)))
    label, places = labels.reshape(-1)[at], np.stack(np.unravel_index(at, labels.shape), axis=1)
    label[0] = 0  # number 0 is no node
    cells, is_own = (places + first) // cell, ((places >= core.begin) & (places < core.end)).all(axis=1)
    parts = _numbers_in_cells(label, cells, places)
    pairs = _touching(pieces[_around(core, cell, labels).slices()], label)
    rows, links = _rows(pairs, is_own & (label != 0), cells, parts)
    order = np.argsort(label[rows], kind="stable")
    rows, links = rows[order], links[order]
    voxels = (places[rows] + first).astype(np.int32)
    return Nodes(label[rows], voxels, depth.reshape(-1)[at][rows], parts[rows], links)


def _around(core: Box, margin: Numbers, array: Labels) -> Box:
    """A box of an array, grown by `margin` (3,) as far as the array goes."""
    return core.grow(vector(margin), vector(margin)).intersect(Box((0, 0, 0), vector(array.shape)))


def _pieces(labels: Labels, begin: Numbers, cell: Numbers) -> Labels:
    """Number the nodes: uint32 (z, y, x) of 1, 2, 3, ... in all voxels of objects.

    Neighbouring cells differ in whether their index along some axis is even. With that added to the label, a component
    ends at the border of its cell.
    """
    odd = [
        (first + np.arange(length)) // side % 2 for first, length, side in zip(begin, labels.shape, cell, strict=True)
    ]
    kind = (4 * odd[0][:, None, None] + 2 * odd[1][:, None] + odd[2]).astype(np.uint32)
    divided = np.where(labels == 0, np.uint32(0), labels * np.uint32(8) + kind)
    pieces: Any = cc3d.connected_components(divided, connectivity=26, out_dtype=np.uint32)
    return np.asarray(pieces, np.uint32)


@njit
def _deepest(pieces: Any, depth: Any, begin: Any, cell: Any, count: int) -> Any:
    """The deepest voxel of every node; of several, the nearest to the centre of its cell, then the first in C order.

    Args:
        pieces: uint32 (z, y, x), from 1 to `count`, or 0.
        depth: int32 (z, y, x).
        begin: of the array in the volume, int64 (3,).
        cell: shape of a cell, int64 (3,).
        count: of nodes.

    Returns:
        int64 (count + 1,), indices in the flat array; of number 0 it means nothing.
    """
    best, away = np.full(count + 1, -1, np.int64), np.zeros(count + 1, np.int64)
    found, index = np.zeros(count + 1, np.int64), -1
    for z in range(pieces.shape[0]):
        off_z = (2 * ((z + begin[0]) % cell[0]) + 1 - cell[0]) ** 2
        for y in range(pieces.shape[1]):
            off_y = off_z + (2 * ((y + begin[1]) % cell[1]) + 1 - cell[1]) ** 2
            for x in range(pieces.shape[2]):
                index += 1
                piece = pieces[z, y, x]
                if piece == 0:
                    continue
                off = off_y + (2 * ((x + begin[2]) % cell[2]) + 1 - cell[2]) ** 2
                deep = depth[z, y, x]
                if deep > best[piece] or (deep == best[piece] and off < away[piece]):
                    best[piece], away[piece], found[piece] = deep, off, index
    return found


def _numbers_in_cells(label: Labels, cells: Numbers, places: Numbers) -> npt.NDArray[np.uint8]:
    """The number (n,) of every node among those of its object in its cell, in C order of their voxels."""
    order = np.lexsort((*places.T[::-1], *cells.T, label))
    same = (label[order][1:] == label[order][:-1]) & (cells[order][1:] == cells[order][:-1]).all(axis=1)
    numbers = np.empty(len(label), np.uint8)
    numbers[order] = 1 + _place_in_run(np.append(False, same))
    return numbers


def _place_in_run(same: npt.NDArray[np.bool_]) -> Numbers:
    """How many elements of its run come before each element (n,), given whether it is in the run of the one before."""
    index = np.arange(len(same))
    return index - np.maximum.accumulate(np.where(same, 0, index))


def _touching(pieces: Labels, label: Labels) -> Numbers:
    """Pairs of nodes of one object that touch, int64 (m, 2), sorted."""
    touching = cc3d.region_graph(pieces, connectivity=26)
    pairs = np.fromiter((end for pair in touching for end in pair), np.int64, 2 * len(touching)).reshape(-1, 2)
    pairs = pairs[label[pairs[:, 0]] == label[pairs[:, 1]]]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _rows(
    pairs: Numbers, is_own: npt.NDArray[np.bool_], cells: Numbers, parts: npt.NDArray[np.uint8]
) -> tuple[Numbers, npt.NDArray[np.uint8]]:
    """Put the links of the nodes of a block into rows.

    Args:
        pairs: (m, 2), linked nodes.
        is_own: (n,), which nodes belong to the block.
        cells: (n, 3), the cells of the nodes.
        parts: (n,), their numbers in their cells.

    Returns:
        (the node of every row (k,), its links uint8 (k, 13)).
    """
    direction = (cells[pairs[:, 1]] - cells[pairs[:, 0]] + 1) @ (9, 3, 1) - 14
    pairs = np.where((direction < 0)[:, None], pairs[:, ::-1], pairs)
    direction = np.where(direction < 0, -2 - direction, direction)
    kept = is_own[pairs[:, 0]]
    (first, second), direction = pairs[kept].T, direction[kept]
    order = np.lexsort((parts[second], direction, first))
    first, second, direction = first[order], second[order], direction[order]
    again = (first[1:] == first[:-1]) & (direction[1:] == direction[:-1])
    row = first * 256 + _place_in_run(np.append(False, again)) if len(first) else first
    rows, at = np.unique(np.append(np.flatnonzero(is_own) * 256, row), return_inverse=True)
    links = np.zeros((len(rows), len(FORWARD)), np.uint8)
    links[at[len(at) - len(row) :], direction] = parts[second]
    return rows // 256, links


class Graph(NamedTuple):
    """The graph of one object.

    Attributes:
        nodes: int32 (n, 3), voxels, zyx, sorted and unique.
        radii: float32 (n,), nm, at most `DEPTH` voxels.
        begins: int64 (n + 1,), where the neighbours of each node begin in `others`.
        others: int32 (m,), the neighbours of node after node, in ascending order.
    """

    nodes: npt.NDArray[np.int32]
    radii: npt.NDArray[np.float32]
    begins: Numbers
    others: npt.NDArray[np.int32]


def graph_of(nodes: Nodes, voxel_size: Size) -> Graph:
    """Join the nodes of all blocks.

    Args:
        nodes: of one object, in any order; the labels do not matter.
        voxel_size: nm, zyx.

    Raises:
        ValueError: a linked node is missing.
    """
    voxels, first, at = np.unique(nodes.voxels, axis=0, return_index=True, return_inverse=True)
    cells = voxels // np.asarray(cell_shape(voxel_size))
    low = cells.min(axis=0, initial=0) - 1
    spans = cells.max(axis=0, initial=0) + 2 - low
    codes = np.ravel_multi_index(tuple((cells - low).T), tuple(spans)) * 256 + nodes.parts[first]
    order, edges = np.argsort(codes), []
    ordered = codes[order]
    for links, step in zip(nodes.links.T, FORWARD @ np.array([spans[1] * spans[2], spans[2], 1]), strict=True):
        rows = np.flatnonzero(links)
        begin = at.reshape(-1)[rows].astype(np.int32)
        wanted = (codes[begin] // 256 + step) * 256 + links[rows]
        place = np.minimum(np.searchsorted(ordered, wanted), len(codes) - 1)
        if (ordered[place] != wanted).any():
            raise ValueError("a linked node is missing")
        edges.append(np.stack([begin, order[place].astype(np.int32)], axis=1))
    return Graph(voxels, nodes.radii[first], *neighbours(np.concatenate(edges), len(voxels)))


@njit
def neighbours(edges: Any, count: int) -> Any:
    """Both ends of edges as lists of neighbours.

    Args:
        edges: int32 (m, 2), each edge once.
        count: of nodes.

    Returns:
        (`begins`, `others`) as of `Graph`.
    """
    begins = np.zeros(count + 1, np.int64)
    for i in range(len(edges)):
        begins[edges[i, 0] + 1] += 1
        begins[edges[i, 1] + 1] += 1
    for node in range(count):
        begins[node + 1] += begins[node]
    free, others = begins[:-1].copy(), np.empty(2 * len(edges), np.int32)
    for i in range(len(edges)):
        for end in range(2):
            node = edges[i, end]
            others[free[node]] = edges[i, 1 - end]
            free[node] += 1
    for node in range(count):
        others[begins[node] : begins[node + 1]].sort()
    return begins, others
