"""What `fgnet inspect OUTPUT A B` prints: why two segments or fragments are one, or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fgnet_pipeline.commands.tables import table, terminal_columns

if TYPE_CHECKING:
    from fgnet_pipeline.evaluation.joining import Edge, Joining, TreeJoin
    from fgnet_pipeline.evaluation.segment_merges import Merge

TITLES = ("fragment", "next fragment", "score", "faces", "position", "")


def lines_of_two(found: Joining, limit: int) -> Iterator[str]:
    """The lines.

    Args:
        found: how the two are related.
        limit: how many merges are listed at most. A path is listed as a whole.
    """
    for side in (found.one, found.other):
        of = "" if side.kind == "segment" else f", part of segment {side.segment}"
        fragments = f", {side.fragments} fragments" if side.kind == "segment" else ""
        yield f"{side.kind} {side.id}: {side.voxels} voxels{fragments}{of}"
    if found.is_joined:
        yield from _joined(found, limit)
        return
    yield f"not joined at threshold {found.threshold:g} ({found.scored_by})"
    yield from _contact(found)
    if found.join is None:
        yield ("no path of touching fragments leads from one to the other: no threshold joins them. Between them lie "
               "background or parts outside the region or the mask.")  # fmt: skip
        return
    yield from _path(found)
    yield from _tree(found, found.join)


def _joined(found: Joining, limit: int) -> Iterator[str]:
    yield f"both are in segment {found.one.segment} at threshold {found.threshold:g}"
    if found.join is not None:
        yield f"a threshold above {found.join.score:.6g} separates them"
    yield from _merges(found.merges, limit, found.scored_by)


def _merges(merges: list[Merge], limit: int, scored_by: str) -> Iterator[str]:
    shown = merges[max(0, len(merges) - limit) :]
    which = f"the last {len(shown)} of {len(merges)}" if len(shown) < len(merges) else "all"
    yield f"merges that brought them together, {which}, the weakest last"
    yield f"({scored_by}, faces, voxels of both sides, position)"
    yield from map(merge_line, shown)


def _contact(found: Joining) -> Iterator[str]:
    if found.contact is not None:
        yield (f"they touch in {found.contact.count} faces with the score {found.contact.score:.4f}, "
               f"around {_at(found.contact)}")  # fmt: skip
    elif not found.too_many:
        yield "they do not touch"


def _path(found: Joining) -> Iterator[str]:
    if found.too_many:
        yield "no path was looked for: the region adjacency graph around them has too many edges"
        return
    where = "" if found.searched is None else f" in voxels {found.searched[0]} to {found.searched[1]}"
    if not found.path:
        yield f"no path was found{where}"
        return
    yield f"path of best edges from {found.one.id} to {found.other.id}{where}: {_edges(len(found.path))}"
    rows = [
        [str(e.a), str(e.b), f"{e.score:.4f}", str(e.count), _at(e), "weakest" if e.is_weakest else ""]
        for e in found.path
    ]
    yield from table(TITLES, rows, left=2, columns=terminal_columns())
    passed = [found.path[0].segment_a, *(e.segment_b for e in found.path)]
    order = [s for i, s in enumerate(passed) if i == 0 or s != passed[i - 1]]
    yield f"segments on this path: {', '.join(map(str, order))}"


def _edges(number: int) -> str:
    return "1 edge" if number == 1 else f"{number} edges"


def _tree(found: Joining, join: TreeJoin) -> Iterator[str]:
    yield (f"in the merge tree they are joined at threshold {join.threshold:.6g}: there clusters {join.a} and {join.b} "
           f"merge, with the score {join.score:.6g} over {join.count} faces")  # fmt: skip
    weakest = found.weakest
    if weakest is None:
        return
    if weakest.score >= found.threshold:
        yield (f"why the two differ: no edge of the path is below the threshold {found.threshold:g}, but clusters are "
               "compared over all faces between them, and further faces lower this score")  # fmt: skip
    elif weakest.score > join.score:
        yield (f"why the two differ: the weakest edge of the path has {weakest.score:.4f}, but clusters are compared "
               "over all faces between them, and further faces lower this score")  # fmt: skip
    else:
        yield "both agree: the weakest edge of the path decides"
    yield (f"to join them, and all others that this joins: --set agglomerate.threshold={join.threshold:.6g} "
           "(only LUT and relabelling are computed again)")  # fmt: skip


def _at(edge: Edge) -> str:
    return ",".join(str(round(v)) for v in edge.position)


def merge_line(m: Merge) -> str:
    """A merge as one line."""
    where = [round(v) for v in m.position or ()]
    return f"  {m.score:8.4f} {m.count:8d} {m.voxels_a:10d} + {m.voxels_b:<10d} {where}"
