"""The merges that made a segment, each with its sides and a position at which to look in the volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.evaluation.segment_tables import fragment_rows, graph_around
from fgnet_pipeline.evaluation.stored_tree import StoredTree
from fgnet_pipeline.kernels.agglomeration.merge_tree import MAXIMUM_AFFINITY, Merges, cut, names_after

Ids = npt.NDArray[np.uint64]
Position = tuple[float, float, float]


@dataclass(frozen=True)
class Merge:
    """A merge of two clusters.

    Attributes:
        a: id of one cluster.
        b: id of the other.
        mean: affinity in [0, 1] over the faces of their contact.
        score: which is compared with the threshold, in [0, 1]: the mean, or a quantile of the affinities.
        count: number of faces.
        voxels_a: size of cluster `a` before the merge.
        voxels_b: size of cluster `b` before the merge.
        position: centre of the contact in voxels, zyx; None if the tables of edges have no contact.
    """

    a: int
    b: int
    mean: float
    score: float
    count: int
    voxels_a: int
    voxels_b: int
    position: Position | None


@dataclass(frozen=True)
class Inside:
    """What a segment consists of.

    Attributes:
        members: its fragments (n,), sorted.
        rows: of their tables.
        graph: the RAG around them.
        merges: by which they became one.
    """

    members: Ids
    rows: dict[str, npt.NDArray[Any]]
    graph: nx.Graph
    merges: Merges

    def listed(self, wanted: set[int]) -> dict[int, Merge]:
        """Some of the merges by their rows, which come in rising order."""
        sizes = dict(zip(self.members.tolist(), self.rows["voxels"].tolist(), strict=True))
        sides = _sides(self.merges, sizes, wanted)
        return {i: _merge(self.merges, i, both, self.members, self.graph) for i, both in sides.items()}


def inside_of(stored: StoredTree, segment: int, threshold: float) -> Inside:
    """What a segment consists of at a threshold in [0, 1]; tables and RAG are read around it alone."""
    members = stored.members(segment, threshold)
    rows = fragment_rows(stored.job, stored.tree, members)
    return Inside(members, rows, graph_around(stored.job, rows, members), _merges_of(stored.merges, members, threshold))


def merges_through(stored: StoredTree, segment: int, one: int, other: int) -> list[Merge]:
    """The merges by which two fragments of a segment came together, best first; the last one joined them.

    Every cluster has a pointer to the cluster that it joined. The merges are those along the pointers of both fragments
    up to the cluster in which they meet.

    Args:
        stored: tree of a finished agglomeration.
        segment: id of the segment at `agglomerate.threshold`.
        one: id of a fragment of it.
        other: id of another one.
    """
    inner = inside_of(stored, segment, stored.job.config.agglomerate.threshold)
    pairs = zip(inner.merges.a.tolist(), inner.merges.b.tolist(), strict=True)
    pointers = {a: (i, b) for i, (a, b) in enumerate(pairs)}
    wanted: set[int] = set()
    while one != other:
        # The pointer of the earlier merge moves on, as in `kernels.agglomeration.growth.joining_rows`.
        moves = min((id_ for id_ in (one, other) if id_ in pointers), key=lambda id_: pointers[id_][0])
        row, above = pointers[moves]
        one, other = (above, other) if moves == one else (one, above)
        wanted.add(row)
    return list(inner.listed(wanted).values())


def _merges_of(merges: Merges, members: Ids, threshold: float) -> Merges:
    """The merges, in canonical order, that made the segment."""
    inner = np.isin(merges.a, members) & cut(merges.a, merges.b, merges.sum, merges.count, threshold)
    return Merges(*(column[inner] for column in merges))


def _sides(merges: Merges, sizes: dict[int, int], wanted: set[int]) -> dict[int, tuple[int, int]]:
    """Row -> voxels of both sides, for some rows; they come in rising order."""
    sides = {}
    for i, (a, b) in enumerate(zip(merges.a.tolist(), merges.b.tolist(), strict=True)):
        if i in wanted:
            sides[i] = (sizes[a], sizes[b])
        sizes[b] += sizes[a]
    return sides


def _merge(merges: Merges, row: int, sides: tuple[int, int], members: Ids, graph: nx.Graph) -> Merge:
    names = names_after(members, merges, row)
    a, b = merges.a[row], merges.b[row]
    one, other = (members[names == name].tolist() for name in (a, b))
    contact = [edge for _, _, edge in nx.edge_boundary(graph, one, other, data=True)]
    score, count = mean_affinity(int(merges.sum[row]), int(merges.count[row])), int(merges.count[row])
    mean = mean_affinity(sum(edge["sum"] for edge in contact), count) if contact else score
    return Merge(int(a), int(b), mean, score, count, *sides, centre(contact))


def mean_affinity(total: int, count: int) -> float:
    """The mean in [0, 1] of `count` affinities (uint8) that sum to `total`."""
    return total / (MAXIMUM_AFFINITY * count)


def centre(edges: list[dict[str, Any]]) -> Position | None:
    """Centre of all faces of some edges, zyx in voxels; None if there are no edges."""
    if not edges:
        return None
    z, y, x = sum(edge["position"] for edge in edges) / sum(edge["count"] for edge in edges)
    return float(z), float(y), float(x)
