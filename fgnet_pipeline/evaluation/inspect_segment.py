"""One segment under the magnifying glass: its fragments, the merges that made it, and what lies beside it.

A segment that should be two neurons shows it in its weakest merges: a low mean affinity over a small contact that
joined two large sides. Positions say where to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, block_of_ids, indices, vector
from fgnet_pipeline.core.plan import single
from fgnet_pipeline.evaluation.stored_tree import StoredTree, open_agglomerated
from fgnet_pipeline.kernels.agglomeration.merge_tree import MAXIMUM_AFFINITY, Merges, cut, names_after
from fgnet_pipeline.kernels.agglomeration.scores.score import Part, Score, scores
from fgnet_pipeline.stages.checked_tables import edge_columns, key_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import Octree

Ids = npt.NDArray[np.uint64]
Position = tuple[float, float, float]


@dataclass(frozen=True)
class Fragment:
    """``point``: one of its voxels, zyx."""

    id: int
    voxels: int
    point: Vector


@dataclass(frozen=True)
class Merge:
    """Cluster ``a`` joined cluster ``b``: mean affinity in [0, 1] over ``count`` faces.

    score: what thresholds are compared with: the mean, or a quantile of the affinities.
    voxels_a, voxels_b: sizes of the two sides then. position: centre of their contact, zyx in voxels.
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
class Neighbour:
    """A touching segment: mean affinity in [0, 1] over ``count`` faces between ``contacts`` pairs of fragments.

    score: as in :class:`Merge`.
    position: centre of the contact, zyx in voxels.
    """

    segment: int
    mean: float
    score: float
    count: int
    contacts: int
    position: Position


@dataclass(frozen=True)
class Inspection:
    """A segment at a threshold. begin, end: its bounding box in voxels, zyx. scored_by: what the threshold is of.

    fragments: largest first. strongest, weakest: at most as many merges as asked for, by falling and rising score.
    neighbours: by falling score; all are below the threshold, or they would be part of the segment.
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect_segment(config: Config, segment: int, limit: int = 10) -> Inspection:
    """Look at ``segment`` of the segmentation at ``agglomerate.threshold``; at most ``limit`` merges a list.

    Raises:
        InputError: an unfinished agglomeration, or no segment of that id at that threshold.
    """
    job, threshold, part = open_agglomerated(config), config.agglomerate.threshold, config.agglomerate.quantile_part
    score = scores()[config.agglomerate.score]
    stored = StoredTree(job)
    _require_segment(stored, segment, threshold)
    members = stored.members(segment, threshold)
    rows = _fragment_rows(job, stored.tree, members)
    graph = _graph(job, rows, members)
    merges = _merges_of(stored.merges, members, threshold)
    sizes = dict(zip(members.tolist(), rows["voxels"].tolist(), strict=True))
    total, count = len(merges.a), min(limit, len(merges.a))
    listed = {i: _merge(merges, i, sides, members, graph) for i, sides in _sides(merges, sizes, count).items()}
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
    )


def _require_segment(stored: StoredTree, segment: int, threshold: float) -> None:
    expected, remedy = f"a segment at threshold {threshold:g}", "take an id from the segmentation"
    ids = np.array([segment], np.uint64) if 0 < segment < 2**63 else np.zeros(0, np.uint64)
    if len(ids) == 0 or len(_fragment_rows(stored.job, stored.tree, ids)["id"]) == 0:
        raise InputError("SEGMENT", segment, expected, remedy)
    actual = int(stored.segments(ids, threshold)[0])
    if actual != segment:
        raise InputError("SEGMENT", segment, f"{expected} (this fragment is part of {actual})", f"inspect {actual}")


def _fragment_rows(job: Job, tree: Octree, ids: Ids) -> dict[str, npt.NDArray[Any]]:
    """Columns id, voxels, begin, end, point of the fragments that exist among ``ids``, sorted by id."""
    blocks: Iterable[Vector] = indices(job.plan.blocks("fragments"))
    if tree.packed:
        blocks = [vector(block) for block in np.unique(block_of_ids(ids), axis=0)]
    tables = job.output.tables("fragments", "fragments")
    names = ["id", "voxels", "begin", "end", "point"]
    parts = []
    for block in blocks:
        if job.plan.active("fragments", single(block)).all():
            table = tables.read(block, names, key_of(job, "fragments", block))
            chosen = np.isin(table["id"], ids)
            parts.append({name: table[name][chosen] for name in names})
    if not parts:
        return {name: np.zeros(0, np.int64) for name in names}
    return _united({name: np.concatenate([part[name] for part in parts]) for name in names})


def _united(rows: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """One row an id: a lab's own fragments may lie in several blocks."""
    ids, first, which = np.unique(rows["id"], return_index=True, return_inverse=True)
    voxels = np.zeros(len(ids), np.int64)
    begin, end = rows["begin"][first].copy(), rows["end"][first].copy()
    np.add.at(voxels, which, rows["voxels"])
    np.minimum.at(begin, which, rows["begin"])
    np.maximum.at(end, which, rows["end"])
    return {"id": ids, "voxels": voxels, "begin": begin, "end": end, "point": rows["point"][first]}


def _graph(job: Job, rows: dict[str, npt.NDArray[Any]], members: Ids) -> nx.Graph:
    """The RAG around the members: every edge with an end among them, with sum, count, summed position and histogram.

    Without contacts below ``agglomerate.min_contact``, which agglomeration ignores.
    """
    grid, tables = job.plan.tasks["edges"].grid, job.output.tables("edges", "edges")
    blocks: set[Vector] = set()
    for begin, end in zip(rows["begin"], rows["end"], strict=True):
        # A contact is counted by the block of its upper voxel, which may lie one voxel past the fragment.
        box = Box(vector(begin), vector(np.add(end, 1))).intersect(job.roi)
        blocks.update(indices(grid.covering(box)))
    graph = nx.Graph()
    names = [*edge_columns(job), "position"]
    for block in sorted(blocks):
        if job.plan.active("edges", single(block)).all():
            table = tables.read(block, names, key_of(job, "edges", block))
            _add_edges(graph, table, np.isin(table["u"], members) | np.isin(table["v"], members))
    least = job.config.agglomerate.min_contact
    graph.remove_edges_from([(u, v) for u, v, count in graph.edges(data="count") if count < least])
    return graph


def _add_edges(graph: nx.Graph, table: dict[str, npt.NDArray[Any]], chosen: npt.NDArray[np.bool_]) -> None:
    bins = table.get("histogram", np.zeros((len(table["u"]), 0)))
    columns = [table[name][chosen] for name in ("u", "v", "sum", "count", "position")]
    for u, v, total, count, position, histogram in zip(*columns, bins[chosen], strict=True):
        if not graph.has_edge(int(u), int(v)):
            graph.add_edge(int(u), int(v), sum=0, count=0, position=np.zeros(3), histogram=0)
        edge = graph.edges[int(u), int(v)]
        edge["sum"] += int(total)
        edge["count"] += int(count)
        edge["position"] = edge["position"] + position
        edge["histogram"] = edge["histogram"] + histogram.astype(np.int64)


def _merges_of(merges: Merges, members: Ids, threshold: float) -> Merges:
    """The rows, in canonical order, that made the segment."""
    inner = np.isin(merges.a, members) & cut(merges.a, merges.b, merges.sum, merges.count, threshold)
    return Merges(*(column[inner] for column in merges))


def _sides(merges: Merges, sizes: dict[int, int], count: int) -> dict[int, tuple[int, int]]:
    """Voxels of both sides of the first and the last ``count`` rows, by row."""
    total, sides = len(merges.a), {}
    for i, (a, b) in enumerate(zip(merges.a.tolist(), merges.b.tolist(), strict=True)):
        if i < count or i >= total - count:
            sides[i] = (sizes[a], sizes[b])
        sizes[b] += sizes[a]
    return sides


def _merge(merges: Merges, row: int, sides: tuple[int, int], members: Ids, graph: nx.Graph) -> Merge:
    names = names_after(members, merges, row)
    a, b = merges.a[row], merges.b[row]
    one, other = (members[names == name].tolist() for name in (a, b))
    contact = [edge for _, _, edge in nx.edge_boundary(graph, one, other, data=True)]
    score, count = _mean(int(merges.sum[row]), int(merges.count[row])), int(merges.count[row])
    mean = _mean(sum(edge["sum"] for edge in contact), count) if contact else score
    return Merge(int(a), int(b), mean, score, count, *sides, _position(contact))


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
    position = _position(edges)
    assert position is not None, "a neighbour has at least one contact"
    total = sum(edge["sum"] for edge in edges)
    score, part = scored
    value = score.edge_value(total, count, sum(edge["histogram"] for edge in edges), part)
    return Neighbour(segment, _mean(total, count), value, count, len(edges), position)


def _mean(total: int, count: int) -> float:
    return total / (MAXIMUM_AFFINITY * count)


def _position(edges: list[dict[str, Any]]) -> Position | None:
    """Centre of all faces of some edges."""
    if not edges:
        return None
    z, y, x = sum(edge["position"] for edge in edges) / sum(edge["count"] for edge in edges)
    return float(z), float(y), float(x)
