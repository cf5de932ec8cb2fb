"""The centre line of an object: one tree per connected part of its graph (`fgnet_pipeline.kernels.cells`).

The rule is TEASAR (Sato and others, 2000, https://doi.org/10.1109/PCCGA.2000.883951), which kimimaro uses on voxels:

1. The first point of a line is the end of the object that is farthest from its thickest node.
2. From there, find the cheapest way to every other node. Thick ways are cheap, and lead through the centre.
3. Take the farthest node that is not covered, and add its way to the tree.
4. Everything that can be reached from a node of this way within `SCALE` times its radius and `CONSTANT` is covered. Go
   on with 3. until all nodes are covered.

A way never returns, so the tree has no loop, and a ring is opened. What was connected stays connected.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import KDTree

from fgnet_pipeline.kernels.cells import DEPTH, Graph, Numbers, Size
from fgnet_pipeline.kernels.compiled import njit

#: What a node covers, in radii of the object, and what is added to that in nm: the defaults of kimimaro.
SCALE, CONSTANT = 1.5, 300.0
#: How many nodes near the surface are asked for the radius of a node deep inside.
_ASKED = 16
Floats = npt.NDArray[np.float64]


class Tree(NamedTuple):
    """Nodes and edges without a loop. The root of a tree is its thickest node.

    Attributes:
        nodes: int32 (n, 3), voxels, zyx. A parent comes before its children, and all nodes of a tree are together.
        radii: float32 (n,), nm, the distance from the surface of the object.
        parents: int64 (n,), index of the node before each one; -1 for roots.
    """

    nodes: npt.NDArray[np.int32]
    radii: npt.NDArray[np.float32]
    parents: Numbers


def tree_of(graph: Graph, voxel_size: Size) -> Tree:
    """Find the centre lines of an object, one tree per connected part.

    Args:
        graph: of the object.
        voxel_size: nm, zyx.
    """
    if len(graph.nodes) == 1:  # most objects of a segmentation are small
        return Tree(graph.nodes, graph.radii, np.array([-1]))
    places = graph.nodes * np.asarray(voxel_size)
    radii = _radii(places, graph.radii.astype(np.float64), DEPTH * min(voxel_size))
    lengths = np.linalg.norm(places[graph.edges[:, 0]] - places[graph.edges[:, 1]], axis=1)
    # The cost per nm falls with the square of the radius: a detour through thicker parts is cheaper.
    costs = _matrix(graph.edges, lengths / radii[graph.edges].mean(axis=1) ** 2, len(places))
    part = connected_components(costs, directed=False)[1]
    _, reach = _ways(costs, places, _first_of_parts(part, -radii))
    before, reach = _ways(costs, places, _first_of_parts(part, -(reach + radii)))
    farthest_first = np.lexsort((np.arange(len(places)), -(reach + radii)))
    near = _matrix(graph.edges, lengths, len(places))
    kept = _covering(farthest_first, before, SCALE * radii + CONSTANT, near.indptr, near.indices, near.data)
    links = np.stack([before, np.arange(len(before))], axis=1)[kept & (before >= 0)]
    kept &= ~_spurs(links, places, radii)
    return _rooted(graph.nodes, radii, links[kept[links].all(axis=1)], np.flatnonzero(kept))


def _radii(places: Floats, known: Floats, deepest: float) -> Floats:
    """The distances of nodes from the surface in nm, float64 (n,).

    A node deep inside asks the nodes that know their depth: its own is no more than the depth there and the way there.

    Args:
        places: of the nodes, nm, (n, 3).
        known: depths in nm (n,), cut off at `deepest`.
        deepest: nm.
    """
    radii, deep = known.copy(), known >= deepest * (1 - 1e-6)
    if deep.any() and not deep.all():
        shallow = np.flatnonzero(~deep)
        asked = np.arange(1, 1 + min(_ASKED, len(shallow)))
        away, at = KDTree(places[shallow]).query(places[deep], k=asked)
        radii[deep] = np.maximum(deepest, (away + known[shallow[at]]).min(axis=1))
    return radii


def _matrix(edges: Numbers, values: Floats, count: int) -> csr_array:
    """Values of edges (m, 2) between `count` nodes as a matrix, in both directions."""
    first, second = np.concatenate([edges, edges[:, ::-1]]).T
    matrix: csr_array = coo_array((np.tile(values, 2), (first, second)), shape=(count, count)).tocsr()
    matrix.sort_indices()
    return matrix


def _first_of_parts(part: npt.NDArray[np.int32], order: Floats) -> Numbers:
    """The node of the smallest value in `order` (n,) of every part, given the part of every node (n,)."""
    by_order = np.lexsort((np.arange(len(part)), order))
    first: Numbers = by_order[np.unique(part[by_order], return_index=True)[1]]
    return first


def _ways(costs: csr_array, places: Floats, roots: Numbers) -> tuple[Numbers, Floats]:
    """The cheapest ways from the roots, one in each connected part.

    Returns:
        (the node before each node (n,), -1 for roots; the length of the way to each node in nm (n,)).
    """
    cost, before, _ = dijkstra(costs, indices=roots, return_predecessors=True, min_only=True)
    before = np.where(before < 0, -1, before).astype(np.int64)
    steps = np.linalg.norm(places - places[before], axis=1)
    return before, _sums(np.lexsort((np.arange(len(places)), cost)), before, steps)


@njit
def _sums(order: Any, before: Any, steps: Any) -> Any:
    """Sums (n,) of the steps (n,) from the roots to all nodes. In `order` a node comes after the one before it."""
    sums = np.zeros(len(order), np.float64)
    for node in order:
        if before[node] >= 0:
            sums[node] = sums[before[node]] + steps[node]
    return sums


@njit
def _covering(order: Any, before: Any, balls: Any, begins: Any, others: Any, lengths: Any) -> Any:
    """Which nodes bool (n,) the tree has.

    Args:
        order: int64 (n,), the nodes, farthest first.
        before: int64 (n,), as `_ways` returns it.
        balls: float64 (n,), how far in nm each node covers.
        begins: int32 (n + 1,), where the neighbours of each node begin in `others` and `lengths`.
        others: int32 (m,), neighbours.
        lengths: float64 (m,), nm, of the edges to them.
    """
    kept = before < 0
    left = np.zeros(len(order), np.float64)  # how much farther what covers a node reaches; 0: it is not covered
    for tip in order:
        if left[tip] > 0 or kept[tip]:
            continue
        heap = [(0.0, tip)]
        heap.pop()
        node = tip
        while True:
            if balls[node] > left[node]:
                left[node] = balls[node]
                heapq.heappush(heap, (-left[node], node))
            if kept[node]:
                break
            kept[node] = True
            node = before[node]
        while heap:
            covered, node = heapq.heappop(heap)
            if -covered < left[node]:
                continue
            for i in range(begins[node], begins[node + 1]):
                rest = left[node] - lengths[i]
                if rest > left[others[i]]:
                    left[others[i]] = rest
                    heapq.heappush(heap, (-rest, np.int64(others[i])))
    return kept


def _spurs(links: Numbers, places: Floats, radii: Floats) -> npt.NDArray[np.bool_]:
    """Which nodes (n,) are ends within the radius of a fork, e.g. because a line began beside the centre.

    Args:
        links: of a tree, indices of nodes, (m, 2).
        places: of the nodes, nm, (n, 3).
        radii: of the nodes, nm, (n,).
    """
    both = np.concatenate([links, links[:, ::-1]])
    degree = np.bincount(links.reshape(-1), minlength=len(places))
    is_near = np.linalg.norm(places[both[:, 0]] - places[both[:, 1]], axis=1) <= radii[both[:, 1]]
    found = np.zeros(len(places), bool)
    found[both[is_near & (degree[both[:, 0]] == 1) & (degree[both[:, 1]] > 2), 0]] = True
    return found


def _rooted(nodes: npt.NDArray[np.int32], radii: Floats, links: Numbers, kept: Numbers) -> Tree:
    """The trees of the nodes `kept` (indices, sorted) with links (m, 2). Their new roots are their thickest nodes."""
    steps = _matrix(np.searchsorted(kept, links), np.ones(len(links)), len(kept))
    part = connected_components(steps, directed=False)[1]
    first = _first_of_parts(part, -radii[kept])
    number, above, _ = dijkstra(steps, indices=first, return_predecessors=True, min_only=True)
    order = np.lexsort((np.arange(len(kept)), number, part))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    parents = np.where(above[order] < 0, -1, place[np.maximum(above[order], 0)])
    return Tree(nodes[kept[order]], radii[kept[order]].astype(np.float32), parents)
