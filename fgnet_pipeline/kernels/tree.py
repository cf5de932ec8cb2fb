"""One tree per connected part of a graph of nodes with radii, by the rule of TEASAR.

The centre lines of single blocks, put together, have loops and parallel lines: where the face of a block cuts an object
lengthwise, both halves have a line. Therefore the joined lines are thinned once more. TEASAR (Sato and others, 2000,
https://doi.org/10.1109/PCCGA.2000.883951) does that to the voxels of an object; here its rule is used on the nodes:

1. From the thickest node on, find the cheapest way to every other node. Thick ways are cheap, and lead through the
   centre of the object.
2. Take the farthest node that is not covered, and add its way to the tree.
3. All nodes within a ball around a node of this way are covered. The radius of the ball is `SCALE` times that of the
   object there, and `STEPS` voxels more. Go on with 2. until all nodes are covered.

So a side line that stays within the ball is dropped, every other part of the object keeps a way, and what was connected
stays connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Radius of the ball that a node covers, in radii of the object; the default of kimimaro.
SCALE = 1.5
#: What is added to this radius, in voxels along the longest axis of a voxel.
STEPS = 2
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


class Tree(NamedTuple):
    """Nodes and edges without a loop.

    Attributes:
        nodes: int32 (n, 3), voxels, zyx, sorted and unique.
        radii: float32 (n,), nm.
        parents: int64 (n,), index of the node before each one; -1 for roots.
    """

    nodes: npt.NDArray[np.int32]
    radii: npt.NDArray[np.float32]
    parents: Numbers


def tree_of(ends: npt.NDArray[np.int32], radii: npt.NDArray[np.float32], voxel_size: tuple[float, ...]) -> Tree:
    """Join single edges to trees, one per connected part. The root of a tree is its thickest node.

    Args:
        ends: int32 (n, 6), the voxels at both ends of each edge, zyx and zyx. The order of the edges does not matter.
        radii: float32 (n, 2), nm, at both ends. A node has the smallest of its radii: a block overestimates the
            distance from the border of an object that reaches beyond its context.
        voxel_size: nm, zyx.
    """
    nodes, at = np.unique(ends.reshape(-1, 3), axis=0, return_inverse=True)
    thickness = np.full(len(nodes), np.inf, np.float32)
    np.minimum.at(thickness, at.reshape(-1), radii.reshape(-1))
    places = nodes * np.asarray(voxel_size)
    before, distance = _ways(at.reshape(-1, 2).astype(np.int64), places, thickness.astype(np.float64))
    balls = SCALE * thickness.astype(np.float64) + STEPS * max(voxel_size)
    kept = np.flatnonzero(_covering(places, before, distance, balls))
    parents = before[kept]
    parents[parents >= 0] = np.searchsorted(kept, parents[parents >= 0])
    return Tree(nodes[kept], thickness[kept], parents)


def _ways(edges: Numbers, places: Floats, thickness: Floats) -> tuple[Numbers, Floats]:
    """The cheapest ways from the thickest node of each connected part.

    Args:
        edges: (m, 2), indices of nodes.
        places: nm, (n, 3).
        thickness: nm, (n,).

    Returns:
        (the node before each node (n,), -1 for the thickest ones; the length of the way to each node in nm (n,)).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, dijkstra

    count = len(places)
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    length = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
    # The cost per nm falls with the square of the radius: a detour through thicker parts is cheaper.
    cost = length / np.maximum(thickness[edges].mean(axis=1), 1e-3) ** 2
    graph: csr_array = coo_array((cost, tuple(edges.T)), shape=(count, count)).tocsr()
    part = connected_components(graph, directed=False)[1]
    thickest = np.lexsort((np.arange(count), -thickness))
    roots = thickest[np.unique(part[thickest], return_index=True)[1]]
    costs, before, _ = dijkstra(graph, directed=False, indices=roots, return_predecessors=True, min_only=True)
    before = np.where(before < 0, -1, before).astype(np.int64)
    step = np.linalg.norm(places - places[before], axis=1)
    distance = np.zeros(count)
    for node in np.lexsort((np.arange(count), costs)).tolist():
        if before[node] >= 0:
            distance[node] = distance[before[node]] + step[node]
    return before, distance


def _covering(places: Floats, before: Numbers, distance: Floats, balls: Floats) -> npt.NDArray[np.bool_]:
    """Which nodes (n,) the tree has.

    Args:
        places: nm, (n, 3).
        before: as `_ways` returns it.
        distance: as `_ways` returns it.
        balls: radii in nm that the nodes cover, (n,).
    """
    from scipy.spatial import KDTree

    search, kept, covered = KDTree(places), before < 0, np.zeros(len(places), bool)
    for tip in np.lexsort((np.arange(len(places)), -distance)).tolist():
        if covered[tip] or kept[tip]:
            continue
        way = [tip]
        while not kept[way[-1]]:
            kept[way[-1]] = True
            way.append(int(before[way[-1]]))
        for near in search.query_ball_point(places[way], balls[way]):
            covered[near] = True
    return kept
