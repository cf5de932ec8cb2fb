"""The path between two clusters of a region adjacency graph whose weakest edge is as strong as possible.

Of all paths, that one lies in the spanning tree that Kruskal's algorithm takes from the edges in the order of
agglomeration, best first (T. C. Hu, "The maximum capacity route problem", Operations Research 9, 1961). Average linkage
joins two clusters at a score that is never above this weakest edge: the score of a merge is a mean (or a quantile) over
edges, and one of them is at least as strong, so edges as strong lead through all merges from one fragment to the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from fgnet_pipeline.kernels.agglomeration.merge_tree import Ids, canonical_order
from fgnet_pipeline.kernels.relabel import places

Rows = NDArray[np.int64]


def bottleneck_path(u: Ids, v: Ids, sum: Ids, count: Ids, begins: Ids, ends: Ids) -> Rows | None:
    """The edges of the path from one cluster to another whose weakest edge is the strongest possible.

    Inside a cluster a path costs nothing: it may begin at any fragment of `begins` and end at any of `ends`.

    Args:
        u: uint64 (m,), smaller id of each edge; pairs are unique.
        v: uint64 (m,), larger id.
        sum: uint64 (m,), affinities 0..255 added up: score * 255 * count.
        count: uint64 (m,), number of affinities, above 0.
        begins: uint64, sorted fragments of one cluster.
        ends: uint64, sorted fragments of the other cluster; none of `begins`.

    Returns:
        int64 (k,), places of the edges, in the order in which the path takes them; None if no path leads there.
    """
    order = canonical_order(u, v, sum, count)
    names, ends_of_edges = np.unique(np.concatenate([u[order], v[order]]), return_inverse=True)
    node = np.arange(len(names))
    clusters = []
    for members in (begins, ends):
        at, known = places(names, members)
        if not known.any():
            return None
        node[at[known]] = at[known][0]
        clusters.append(int(at[known][0]))
    pairs = np.sort(node[ends_of_edges.reshape(2, -1)], axis=0)
    # The first edge between two nodes is the best one. Weights are ranks from 1 on, since 0 means "no edge".
    _, best = np.unique(pairs[0] * len(names) + pairs[1], return_index=True)
    best = best[pairs[0][best] != pairs[1][best]]
    graph = sparse.csr_array((best + 1.0, (pairs[0][best], pairs[1][best])), shape=(len(names), len(names)))
    tree = csgraph.minimum_spanning_tree(graph).tocsr()
    _, before = csgraph.breadth_first_order(tree, clusters[0], directed=False, return_predecessors=True)
    path, here = [], clusters[1]
    while here != clusters[0]:
        if before[here] < 0:
            return None
        low, high = min(here, int(before[here])), max(here, int(before[here]))
        path.append(int(tree[low, high]) - 1)
        here = int(before[here])
    return np.asarray(order[path[::-1]], np.int64)
