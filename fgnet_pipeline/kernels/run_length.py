"""Scores of a segmentation by skeletons of neurons: expected run length, splits, mergers, and VOI over nodes.

Skeletons are cut where the segmentation errs. The expected run length is the length of the piece on which a random
point of the skeletons lies, where points are drawn evenly along the cable (Januszewski et al. 2018, doi:
10.1038/s41592-018-0049-4, "ERL"). The rules are those of funlib.evaluate and of github.com/PytorchConnectomics/em_erl:

- An edge is correct if both of its nodes lie in one segment that is no merger.
- A merger is a segment that holds nodes of more than one skeleton. Its edges have no length.
- The edges of one skeleton in one segment are one piece.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """All skeletons of one comparison.

    Attributes:
        skeleton: (n,) int64, from 0 on, which skeleton a node belongs to.
        segment: (n,) uint64, the segment at a node; 0 is background.
        edges: (m, 2) int64, indices of nodes; both nodes of an edge belong to one skeleton.
        lengths: (m,) float64, nm.
        count: how many skeletons there are.
    """

    skeleton: Integers
    segment: Ids
    edges: Integers
    lengths: Floats
    count: int

    @property
    def edge_skeleton(self) -> Integers:
        """(m,) which skeleton an edge belongs to."""
        return self.skeleton[self.edges[:, 0]]


@dataclass(frozen=True)
class RunLengths:
    """Scores of a segmentation against skeletons.

    Attributes:
        expected: expected run length in nm.
        longest: the same of a segmentation without errors.
        length: (count,) float64, nm, of each skeleton.
        per_skeleton: (count,) float64, nm, expected run length of each skeleton.
        split_edges: (count,) int64, edges whose nodes lie in two segments.
        omitted_edges: (count,) int64, edges with a node in the background.
        merged_edges: (count,) int64, edges inside a merger.
        pieces: (count,) int64, how many segments hold nodes of each skeleton.
        mergers: (k,) uint64, sorted ids of segments that hold nodes of more than one skeleton.
    """

    expected: float
    longest: float
    length: Floats
    per_skeleton: Floats
    split_edges: Integers
    omitted_edges: Integers
    merged_edges: Integers
    pieces: Integers
    mergers: Ids

    @property
    def normalised(self) -> float:
        """Expected run length over that of a segmentation without errors, in [0, 1]; 0 without any cable."""
        return self.expected / self.longest if self.longest else 0.0


def run_lengths(graph: Graph, merge_nodes: int = 1) -> RunLengths:
    """Score a segmentation by skeletons.

    Args:
        graph: the skeletons.
        merge_nodes: a segment counts as one that holds a skeleton if it holds at least so many of its nodes.
    """
    mergers = find_mergers(graph, merge_nodes)
    first, second = (graph.segment[graph.edges[:, end]] for end in (0, 1))
    omitted = (first == 0) | (second == 0)
    split = ~omitted & (first != second)
    merged = ~omitted & ~split & np.isin(first, mergers)
    correct = ~(omitted | split | merged)
    owner = graph.edge_skeleton
    length = np.bincount(owner, graph.lengths, graph.count).astype(np.float64)  # integers if there are no edges
    squares = _squared_pieces(owner[correct], first[correct], graph.lengths[correct], graph.count)
    total = float(length.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        per_skeleton = np.where(length > 0, squares / length, 0.0)
    return RunLengths(
        expected=float(squares.sum()) / total if total else 0.0,
        longest=float((length**2).sum()) / total if total else 0.0,
        length=length,
        per_skeleton=per_skeleton,
        split_edges=np.bincount(owner[split], minlength=graph.count),
        omitted_edges=np.bincount(owner[omitted], minlength=graph.count),
        merged_edges=np.bincount(owner[merged], minlength=graph.count),
        pieces=_pieces(graph),
        mergers=mergers,
    )


def find_mergers(graph: Graph, merge_nodes: int = 1) -> Ids:
    """Sorted ids (k,) of segments, without the background, that hold nodes of more than one skeleton."""
    pairs, nodes = _pairs(graph)
    held, skeletons = np.unique(pairs["segment"][(nodes >= merge_nodes) & (pairs["segment"] != 0)], return_counts=True)
    return held[skeletons > 1]


def perfectly_merged(graph: Graph, merge_nodes: int = 1) -> Graph:
    """Merge fragments as well as skeletons can tell: what an agglomeration without errors would score.

    A fragment goes to the skeleton that has most nodes in it, and joins all others of this skeleton. If the joined
    segment would be a merger, the fragment stays alone instead: whatever it joined would be lost as well. With
    `merge_nodes` of 1, no merging of the fragments has a longer expected run length.

    Args:
        graph: the skeletons, with a fragment at every node in place of a segment.
        merge_nodes: see `run_lengths`.

    Returns:
        The same graph with a segment at every node.
    """
    pairs, nodes = _pairs(graph)
    order = np.lexsort((pairs["skeleton"], -nodes, pairs["segment"]))
    pairs, nodes = pairs[order], nodes[order]
    fragments, first, rows = np.unique(pairs["segment"], return_index=True, return_counts=True)
    merged = pairs["skeleton"][first] + 1
    held: dict[tuple[int, int], int] = {}  # (skeleton of a segment, another one) -> nodes
    alone = graph.count + 1
    impure = np.flatnonzero((rows > 1) & (fragments != 0))
    for i in impure[np.argsort(-nodes[first[impure]], kind="stable")].tolist():
        foreign = range(first[i] + 1, first[i] + rows[i])
        more = {(int(merged[i]), int(pairs["skeleton"][j])): int(nodes[j]) for j in foreign}
        if all(held.get(key, 0) + count < merge_nodes for key, count in more.items()):
            held.update({key: held.get(key, 0) + count for key, count in more.items()})
        else:
            merged[i], alone = alone, alone + 1
    merged[fragments == 0] = 0
    return replace(graph, segment=merged.astype(np.uint64)[np.searchsorted(fragments, graph.segment)])


def _pieces(graph: Graph) -> Integers:
    """(count,) how many segments, without the background, hold nodes of each skeleton."""
    pairs, _ = _pairs(graph)
    return np.bincount(pairs["skeleton"][pairs["segment"] != 0], minlength=graph.count)


def _pairs(graph: Graph) -> tuple[npt.NDArray[np.void], Integers]:
    """The distinct pairs (segment, skeleton) of nodes, and the number of nodes of each."""
    pairs = np.zeros(len(graph.segment), [("segment", np.uint64), ("skeleton", np.int64)])
    pairs["segment"], pairs["skeleton"] = graph.segment, graph.skeleton
    return np.unique(pairs, return_counts=True)


def _squared_pieces(skeleton: Integers, segment: Ids, lengths: Floats, count: int) -> Floats:
    """(count,) per skeleton the sum of the squared lengths of its pieces."""
    pairs = np.zeros(len(lengths), [("skeleton", np.int64), ("segment", np.uint64)])
    pairs["skeleton"], pairs["segment"] = skeleton, segment
    found, place = np.unique(pairs, return_inverse=True)
    sums = np.bincount(place, lengths, len(found))
    return np.bincount(found["skeleton"], sums**2, count).astype(np.float64)
