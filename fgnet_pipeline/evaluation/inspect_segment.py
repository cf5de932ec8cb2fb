"""One segment in detail: its fragments, the merges that made it, and the segments that touch it.

If a segment should be two neurons, look at its weakest merges: a low mean affinity over a small contact between two
large sides. Every merge has a position, at which to look in the volume.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.evaluation.segment_merges import Merge, Position, centre, inside_of, mean_affinity
from fgnet_pipeline.evaluation.segment_tables import fragment_rows
from fgnet_pipeline.evaluation.stored_tree import StoredTree, open_agglomerated
from fgnet_pipeline.kernels.agglomeration.scores.score import Part, Score
from fgnet_pipeline.stages.configuration import score_of, score_part
from fgnet_pipeline.stages.job import Job

Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Fragment:
    """A fragment of the segment.

    Attributes:
        id: of the fragment.
        voxels: its size.
        point: one of its voxels, zyx.
    """

    id: int
    voxels: int
    point: Vector


@dataclass(frozen=True)
class Neighbour:
    """A segment that touches the inspected one.

    Attributes:
        segment: its id.
        mean: affinity in [0, 1] over the faces between the two.
        score: as in `Merge`.
        count: number of faces.
        contacts: number of pairs of fragments that touch.
        position: centre of all faces in voxels, zyx.
    """

    segment: int
    mean: float
    score: float
    count: int
    contacts: int
    position: Position


@dataclass(frozen=True)
class Inspection:
    """A segment at a threshold.

    Attributes:
        segment: its id.
        threshold: in [0, 1].
        scored_by: what is compared with the threshold, in words.
        voxels: its size.
        begin: first voxel of its bounding box, zyx.
        end: the voxel after the last of its bounding box, zyx.
        fragments: largest first.
        merges: how many merges made it.
        strongest: those with the highest scores, highest first; at most as many as asked for.
        weakest: those with the lowest scores, lowest first; at most as many as asked for.
        neighbours: by falling score; all scores are below the threshold, or they would be part of the segment.
        cut_by_region: whether the segment reaches a face of the region of interest behind which the volume goes on, so
            that it may be longer than what was computed.
    """

    segment: int
    threshold: float
    scored_by: str
    voxels: int
    begin: Vector
    end: Vector
    fragments: list[Fragment]
    merges: int
    strongest: list[Merge]
    weakest: list[Merge]
    neighbours: list[Neighbour]
    cut_by_region: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ids are strings, because JavaScript and jq lose whole numbers above 2^53."""
        document = asdict(self)
        merges = [*document["strongest"], *document["weakest"]]
        for holder in (document, *document["fragments"], *merges, *document["neighbours"]):
            holder.update({name: str(holder[name]) for name in ("id", "segment", "a", "b") if name in holder})
        return document


def inspect_segment(config: Config, segment: int, limit: int = 10) -> Inspection:
    """Describe a segment of the segmentation at `agglomerate.threshold`.

    Args:
        config: of a finished run.
        segment: its id.
        limit: how many merges `strongest` and `weakest` hold at most.

    Raises:
        InputError: an unfinished agglomeration, or no segment of that id at that threshold.
    """
    job = open_agglomerated(config)
    threshold, score, part = job.config.agglomerate.threshold, score_of(job.config), score_part(job.config)
    stored = StoredTree(job)
    _require_segment(stored, segment, threshold)
    inner = inside_of(stored, segment, threshold)
    members, rows, graph = inner.members, inner.rows, inner.graph
    total, count = len(inner.merges.a), min(limit, len(inner.merges.a))
    listed = inner.listed({*range(count), *range(total - count, total)})
    return Inspection(
        segment=segment,
        threshold=threshold,
        scored_by=score.text(part),
        voxels=int(rows["voxels"].sum()),
        begin=vector(rows["begin"].min(0)),
        end=vector(rows["end"].max(0)),
        fragments=_fragments(rows),
        merges=total,
        strongest=[listed[i] for i in range(count)],
        weakest=[listed[i] for i in range(total - 1, total - 1 - count, -1)],
        neighbours=_neighbours(stored, graph, members, threshold, (score, part)),
        cut_by_region=_is_cut(rows["begin"].min(0), rows["end"].max(0), job),
    )


def _is_cut(begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64], job: Job) -> bool:
    """Whether a bounding box (voxels, zyx) touches a face of the region of interest inside the volume."""
    low = (begin <= job.roi.begin) & (np.asarray(job.roi.begin) > job.bounds.begin)
    high = (end >= job.roi.end) & (np.asarray(job.roi.end) < job.bounds.end)
    return bool((low | high).any())


def _require_segment(stored: StoredTree, segment: int, threshold: float) -> None:
    expected, remedy = f"a segment at threshold {threshold:g}", "take an id from the segmentation"
    ids = np.array([segment], np.uint64) if 0 < segment < 2**63 else np.zeros(0, np.uint64)
    if len(ids) == 0 or len(fragment_rows(stored.job, stored.tree, ids)["id"]) == 0:
        raise InputError("SEGMENT", segment, expected, remedy)
    actual = int(stored.segments(ids, threshold)[0])
    if actual != segment:
        raise InputError("SEGMENT", segment, f"{expected} (this fragment is part of {actual})", f"inspect {actual}")


def _fragments(rows: dict[str, npt.NDArray[Any]]) -> list[Fragment]:
    order = np.lexsort((rows["id"], -rows["voxels"]))
    return [Fragment(int(rows["id"][i]), int(rows["voxels"][i]), vector(rows["point"][i])) for i in order]


def _neighbours(
    stored: StoredTree, graph: nx.Graph, members: Ids, threshold: float, scored: tuple[Score, Part | None]
) -> list[Neighbour]:
    inside = set(members.tolist())
    boundary = [
        (v if u in inside else u, edge) for u, v, edge in nx.edge_boundary(graph, inside & set(graph), data=True)
    ]
    outside = np.array([fragment for fragment, _ in boundary], np.uint64)
    by_segment: dict[int, list[dict[str, Any]]] = {}
    for segment, (_, edge) in zip(stored.segments(outside, threshold).tolist(), boundary, strict=True):
        by_segment.setdefault(segment, []).append(edge)
    found = [_neighbour(segment, edges, scored) for segment, edges in by_segment.items()]
    return sorted(found, key=lambda neighbour: (-neighbour.score, neighbour.segment))


def _neighbour(segment: int, edges: list[dict[str, Any]], scored: tuple[Score, Part | None]) -> Neighbour:
    count = sum(edge["count"] for edge in edges)
    position = centre(edges)
    assert position is not None, "a neighbour has at least one contact"
    total = sum(edge["sum"] for edge in edges)
    score, part = scored
    value = score.edge_value(total, count, sum(edge["histogram"] for edge in edges), part)
    return Neighbour(segment, mean_affinity(total, count), value, count, len(edges), position)
