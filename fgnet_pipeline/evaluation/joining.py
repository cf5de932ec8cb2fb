"""Why two segments or fragments are not one: the best path between them, and the threshold that would join them.

Two answers are given, since they differ. The path of best edges says where the two are almost connected: its weakest
edge is the strongest possible. The merge tree says at which threshold they are really joined: clusters are compared by
the score of all faces between them, not of the best edge. So this threshold is never above the weakest edge of the
path.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.evaluation.region_edges import RegionEdges, region_edges
from fgnet_pipeline.evaluation.segment_merges import Merge, Position, merges_through
from fgnet_pipeline.evaluation.segment_tables import fragment_rows
from fgnet_pipeline.evaluation.stored_tree import StoredTree, open_agglomerated
from fgnet_pipeline.kernels.agglomeration.bottleneck import bottleneck_path
from fgnet_pipeline.kernels.agglomeration.growth import joining_rows
from fgnet_pipeline.kernels.agglomeration.merge_tree import MAXIMUM_AFFINITY
from fgnet_pipeline.stages.configuration import score_of, score_part

Ids = npt.NDArray[np.uint64]
#: Decimals of the threshold that joins two clusters.
DECIMALS = 6


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        id: as the user named it.
        kind: `segment`, or `fragment` if no segment has this id.
        segment: that it is, or belongs to, at the threshold.
        voxels: its size.
        fragments: how many it has.
    """

    id: int
    kind: str
    segment: int
    voxels: int
    fragments: int


@dataclass(frozen=True)
class Edge:
    """A contact of two fragments, or of the two sides.

    Attributes:
        a: fragment or side at which the path arrives.
        b: fragment or side to which it goes on.
        segment_a: segment of `a` at the threshold.
        segment_b: segment of `b`.
        mean: affinity over the faces, in [0, 1].
        score: which the threshold is compared with, in [0, 1]: the mean, or a quantile of the affinities.
        count: number of faces.
        position: centre of the faces in voxels, zyx.
        is_weakest: whether no other edge of the path has a lower score.
    """

    a: int
    b: int
    segment_a: int
    segment_b: int
    mean: float
    score: float
    count: int
    position: Position
    is_weakest: bool = False


@dataclass(frozen=True)
class TreeJoin:
    """The merge that joins the two in the merge tree.

    Attributes:
        a: id of one cluster: its largest fragment.
        b: id of the other.
        score: of all faces between the two clusters, in [0, 1].
        count: number of these faces.
        threshold: a decimal, at most the score, at which the two are one segment.
    """

    a: int
    b: int
    score: float
    count: int
    threshold: float


@dataclass(frozen=True)
class Joining:
    """How two segments or fragments are related.

    Attributes:
        one: the first.
        other: the second.
        threshold: of the agglomeration, in [0, 1].
        scored_by: what is compared with the threshold, in words.
        is_joined: whether both are in one segment.
        join: the merge that joins them, at the threshold or at a lower one; None if no path connects them.
        merges: if they are joined, the merges through which, best first; the last one is `join`.
        contact: of the two sides, if they touch; None if they are joined or do not touch.
        path: of best edges from `one` to `other`; empty if they are joined, or no path was found.
        searched: voxels in which edges were looked for, [begin, end]; None: the whole region.
        too_many: whether there are too many edges, so that none were looked for.
    """

    one: Side
    other: Side
    threshold: float
    scored_by: str
    is_joined: bool
    join: TreeJoin | None
    merges: list[Merge] = field(default_factory=list)
    contact: Edge | None = None
    path: list[Edge] = field(default_factory=list)
    searched: list[list[int]] | None = None
    too_many: bool = False

    @property
    def weakest(self) -> Edge | None:
        """The weakest edge of the path; None without a path."""
        return next((edge for edge in self.path if edge.is_weakest), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ids are strings, because JavaScript and jq lose whole numbers above 2^53."""
        document = asdict(self)
        holders = [document["one"], document["other"], document["join"], document["contact"]]
        names = ("id", "segment", "a", "b", "segment_a", "segment_b")
        for holder in (*filter(None, holders), *document["merges"], *document["path"]):
            holder.update({name: str(holder[name]) for name in names if name in holder})
        return document


def joining(config: Config, one: int, other: int) -> Joining:
    """Say why two segments or fragments are one segment at `agglomerate.threshold`, or why they are not.

    Args:
        config: of a finished run.
        one: id of a segment or fragment. An id that names both is taken for the segment.
        other: the same.

    Raises:
        InputError: an unfinished agglomeration, an id that nothing has, or twice the same id.
    """
    job = open_agglomerated(config)
    stored = StoredTree(job)
    if one == other:
        raise InputError("OTHER", other, "another id than SEGMENT", "name two segments or fragments")
    named = [_side(stored, name, id_) for name, id_ in (("SEGMENT", one), ("OTHER", other))]
    sides, members, boxes = [n[0] for n in named], [n[1] for n in named], [n[2] for n in named]
    threshold, score = job.config.agglomerate.threshold, score_of(job.config)
    same = sides[0].segment == sides[1].segment
    found = Joining(sides[0], sides[1], threshold, score.text(score_part(job.config)), same, _join(stored, one, other))
    if same:
        return replace(found, merges=merges_through(stored, sides[0].segment, one, other))
    around = Box(vector(np.min([b.begin for b in boxes], 0)), vector(np.max([b.end for b in boxes], 0)))
    edges = region_edges(job, around)
    if edges is None:
        return replace(found, too_many=True)
    searched = None if edges.box is None else edges.box.intersect(job.roi).to_list()
    contact = _contact(stored, edges, sides, members)
    return replace(found, contact=contact, path=_path(stored, edges, members), searched=searched)


def _side(stored: StoredTree, name: str, id_: int) -> tuple[Side, Ids, Box]:
    """What an id names, its fragments (n,) sorted, and its bounding box in voxels."""
    threshold, job = stored.job.config.agglomerate.threshold, stored.job
    ids = np.array([id_], np.uint64) if 0 < id_ < 2**63 else np.zeros(0, np.uint64)
    if len(ids) == 0 or len(fragment_rows(job, stored.tree, ids)["id"]) == 0:
        raise InputError(name, id_, "the id of a segment or fragment", "take an id from the segmentation")
    segment = int(stored.segments(ids, threshold)[0])
    members = stored.members(id_, threshold) if segment == id_ else ids
    rows = fragment_rows(job, stored.tree, members)
    kind, voxels = "segment" if segment == id_ else "fragment", int(rows["voxels"].sum())
    box = Box(vector(rows["begin"].min(0)), vector(rows["end"].max(0)))
    return Side(id_, kind, segment, voxels, len(members)), members, box


def _join(stored: StoredTree, one: int, other: int) -> TreeJoin | None:
    """The merge after which the fragments that name both sides are in one cluster.

    The nodes above both fragments hold all merges on their ways up, so nothing more is read.
    """
    pair = np.array([one, other], np.uint64)
    stored.include(pair)
    merges = stored.merges
    row = int(joining_rows(stored.names(pair), merges, pair[:1], pair[1:])[0])
    if row < 0:
        return None
    score = Fraction(int(merges.sum[row]), MAXIMUM_AFFINITY * int(merges.count[row]))
    below = floor(score * 10**DECIMALS) / 10**DECIMALS
    return TreeJoin(int(merges.a[row]), int(merges.b[row]), float(score), int(merges.count[row]), below)


def _contact(stored: StoredTree, edges: RegionEdges, sides: list[Side], members: list[Ids]) -> Edge | None:
    """All edges between the two sides, as one; None if they do not touch."""
    (of_u, of_v), (to_u, to_v) = ((np.isin(edges.u, own), np.isin(edges.v, own)) for own in members)
    rows = np.flatnonzero((of_u & to_v) | (of_v & to_u))
    if not len(rows):
        return None
    count, total = int(edges.count[rows].sum()), int(edges.sum[rows].sum())
    z, y, x = edges.position[rows].sum(0) / count
    mean, config = total / (MAXIMUM_AFFINITY * count), stored.job.config
    bins = None if edges.histogram is None else edges.histogram[rows].sum(0)
    score = score_of(config).edge_value(total, count, bins, score_part(config))
    one, other = sides
    return Edge(one.id, other.id, one.segment, other.segment, mean, score, count, (float(z), float(y), float(x)))


def _path(stored: StoredTree, edges: RegionEdges, members: list[Ids]) -> list[Edge]:
    """The path of best edges, from the first side to the second."""
    rows = bottleneck_path(edges.u, edges.v, edges.scored, edges.count, *members)
    if rows is None:
        return []
    ids = np.unique(np.concatenate([edges.u[rows], edges.v[rows]]))
    segments = dict(zip(ids.tolist(), stored.segments(ids, stored.job.config.agglomerate.threshold).tolist(),
                        strict=True))  # fmt: skip
    scores = [Fraction(int(edges.scored[i]), int(edges.count[i])) for i in rows]
    weakest = min(range(len(rows)), key=lambda i: scores[i])
    found, here = list[Edge](), {int(i) for i in members[0]}
    for place, i in enumerate(rows):
        u, v, count = int(edges.u[i]), int(edges.v[i]), int(edges.count[i])
        a, b = (u, v) if u in here else (v, u)
        here = {b}
        z, y, x = edges.position[i] / count
        found.append(Edge(a, b, segments[a], segments[b], int(edges.sum[i]) / (MAXIMUM_AFFINITY * count),
                          int(edges.scored[i]) / (MAXIMUM_AFFINITY * count), count, (float(z), float(y), float(x)),
                          place == weakest))  # fmt: skip
    return found
