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

from fgnet_pipeline.kernels.cells import DEPTH, Graph, Numbers, Size, neighbours
from fgnet_pipeline.kernels.compiled import njit

#: What a node covers, in radii of the object, and what is added to that in nm: the defaults of kimimaro.
SCALE, CONSTANT = 1.5, 300.0
#: How many nodes near the surface are asked for the radius of a node deep inside, and how many nodes ask at a time.
_ASKED, _ASKING = 16, 1 << 14
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
    shape = places, radii, graph.begins, graph.others
    _, before, part = _breadth_first(np.argsort(-radii, kind="stable"), graph.begins, graph.others)
    _, reach = _ways(np.flatnonzero(before < 0), *shape)
    before, reach = _ways(_first_of_parts(part, -(reach + radii)), *shape)
    kept = _covering(np.argsort(-(reach + radii), kind="stable"), before, *shape)
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
    radii, is_deep = known.copy(), known >= deepest * (1 - 1e-6)
    deep, shallow = np.flatnonzero(is_deep), np.flatnonzero(~is_deep)
    if len(deep) and len(shallow):
        from scipy.spatial import KDTree  # here, since every command looks for formats, and most need no scipy

        search, asked = KDTree(places[shallow]), np.arange(1, 1 + min(_ASKED, len(shallow)))
        for begin in range(0, len(deep), _ASKING):
            asking = deep[begin : begin + _ASKING]
            away, at = search.query(places[asking], k=asked)
            radii[asking] = np.maximum(deepest, (away + known[shallow[at]]).min(axis=1))
    return radii


def _first_of_parts(part: Numbers, order: Floats) -> Numbers:
    """The node of the smallest value in `order` (n,) of every part, given the part of every node (n,)."""
    by_order = np.lexsort((order, part))
    first: Numbers = by_order[np.append(True, part[by_order][1:] != part[by_order][:-1])]
    return first


@njit
def _breadth_first(starts: Any, begins: Any, others: Any) -> Any:
    """Go through all nodes, from each start that was not reached before.

    Args:
        starts: int64 (s,), in this order; together they reach every node.
        begins: of the graph.
        others: of the graph.

    Returns:
        (the nodes in this order (n,); the node before each one, -1 for those without; the number of the start from
        which each one was reached), int64 (n,) each.
    """
    count = len(begins) - 1
    order, before = np.empty(count, np.int64), np.full(count, -1, np.int64)
    part, seen, done, number = np.full(count, -1, np.int64), 0, 0, 0
    for start in starts:
        if part[start] >= 0:
            continue
        part[start], order[seen] = number, start
        seen += 1
        while done < seen:
            node = order[done]
            done += 1
            for i in range(begins[node], begins[node + 1]):
                other = others[i]
                if part[other] < 0:
                    part[other], before[other], order[seen] = number, node, other
                    seen += 1
        number += 1
    return order, before, part


@njit
def _away(places: Any, node: int, other: int) -> Any:
    """The distance of two nodes in nm."""
    z, y, x = places[node, 0] - places[other, 0], places[node, 1] - places[other, 1], places[node, 2] - places[other, 2]
    return np.sqrt(z * z + y * y + x * x)


@njit
def _ways(roots: Any, places: Any, radii: Any, begins: Any, others: Any) -> Any:
    """The cheapest ways from the roots, one in each connected part.

    The cost per nm falls with the square of the radius: a detour through thicker parts is cheaper.

    Returns:
        (the node before each node int64 (n,), -1 for roots; the length of the way to each node in nm (n,)).
    """
    count = len(radii)
    before, reach, costs = np.full(count, -1, np.int64), np.zeros(count), np.full(count, np.inf)
    heap = [(0.0, roots[0])]
    costs[roots[0]] = 0.0
    for root in roots[1:]:
        costs[root] = 0.0
        heapq.heappush(heap, (0.0, root))
    while heap:
        cost, node = heapq.heappop(heap)
        if cost > costs[node]:
            continue
        for i in range(begins[node], begins[node + 1]):
            other = np.int64(others[i])
            length = _away(places, node, other)
            rest = cost + length / (0.5 * (radii[node] + radii[other])) ** 2
            if rest < costs[other]:
                costs[other], before[other], reach[other] = rest, node, reach[node] + length
                heapq.heappush(heap, (rest, other))
    return before, reach


@njit
def _covering(order: Any, before: Any, places: Any, radii: Any, begins: Any, others: Any) -> Any:
    """Which nodes bool (n,) the tree has.

    Args:
        order: int64 (n,), the nodes, farthest first.
        before: int64 (n,), as `_ways` returns it.
        places: of the nodes, nm, (n, 3).
        radii: of the nodes, nm, (n,).
        begins: of the graph.
        others: of the graph.
    """
    kept = before < 0
    left = np.zeros(len(order))  # how much farther what covers a node reaches; 0: it is not covered
    heap = [(0.0, order[0])]
    heap.pop()
    for tip in order:
        if left[tip] > 0 or kept[tip]:
            continue
        node, is_new = tip, True
        while is_new:
            ball = SCALE * radii[node] + CONSTANT
            if ball > left[node]:
                left[node] = ball
                heapq.heappush(heap, (-ball, node))
            is_new = not kept[node]
            kept[node] = True
            node = before[node]
        while heap:
            covered, node = heapq.heappop(heap)
            if -covered < left[node]:
                continue
            for i in range(begins[node], begins[node + 1]):
                other = np.int64(others[i])
                rest = left[node] - _away(places, node, other)
                if rest > left[other]:
                    left[other] = rest
                    heapq.heappush(heap, (-rest, other))
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
    edges = np.searchsorted(kept, links).astype(np.int32)
    starts = np.argsort(-radii[kept], kind="stable")
    order, above, _ = _breadth_first(starts, *neighbours(edges, len(kept)))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    parents = np.where(above[order] < 0, -1, place[np.maximum(above[order], 0)])
    return Tree(nodes[kept[order]], radii[kept[order]].astype(np.float32), parents)
