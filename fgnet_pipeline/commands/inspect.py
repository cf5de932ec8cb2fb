"""`fgnet inspect`: explain a segment, a voxel, or why two segments are not one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_pipeline.commands.inspect_two import merge_line
from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result
from fgnet_pipeline.commands.tables import flowing, table, terminal_columns
from fgnet_pipeline.core.errors import InputError, PipelineError

if TYPE_CHECKING:
    from fgnet_pipeline.core.config import Config
    from fgnet_pipeline.evaluation.inspect_segment import Inspection
    from fgnet_pipeline.evaluation.inspect_voxel import VoxelFound

BLOCK_TITLES = ("task", "block", "voxels", "key", "state")


def inspect_command(
    config: Result,
    segment: Annotated[str | None, typer.Argument(help="Id of the segment.")] = None,
    other: Annotated[
        str | None, typer.Argument(help="Id of another segment or fragment: why is it not joined with the first?")
    ] = None,
    set_: Overrides = None,
    workers: Workers = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="Z,Y,X[nm]", help="Voxel to explain, or a position in nm such as 80,400,160nm."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Greatest number of rows per list.")] = 10,
    as_json: Json = False,
) -> None:
    """Explain a segment, a voxel (--at), or two segments or fragments: why they are joined, or not.

    Of a segment: its fragments, its strongest and weakest merges, and its neighbours.
    """
    if (segment is None) == (at is None):
        found = "not given" if segment is None else segment
        raise InputError("SEGMENT", found, "the id of a segment, or a voxel with --at", "give one of both")
    result = configured_result(config, set_, workers)
    if at is not None:
        document, lines = _voxel(result, at, limit)
    elif other is not None:
        document, lines = _two(result, _id(str(segment)), _id(other, "OTHER"), limit)
    else:
        from fgnet_pipeline.evaluation.inspect_segment import inspect_segment

        of_segment = inspect_segment(result, _id(str(segment)), limit)
        document, lines = of_segment.to_dict(), _segment_lines(of_segment, limit)
    typer.echo(json.dumps(document) if as_json else "\n".join(map(flowing, lines)))


def _id(text: str, name: str = "SEGMENT") -> int:
    if not (text.isascii() and text.removeprefix("-").isdecimal()):
        raise InputError(name, text, "a whole number", "take an id from the segmentation")
    return int(text)


def _voxel(config: Config, at: str, limit: int) -> tuple[dict[str, Any], Iterator[str]]:
    """What is known of a voxel, and of its segment if the agglomeration is finished."""
    from fgnet_pipeline.evaluation.inspect_segment import inspect_segment
    from fgnet_pipeline.evaluation.inspect_voxel import inspect_voxel

    found, inspection, why_not = inspect_voxel(config, at), None, None
    if found.segment:
        try:
            inspection = inspect_segment(config, found.segment, limit)
        except PipelineError as error:
            why_not = str(error)
    document = found.to_dict() | {"inspection": None if inspection is None else inspection.to_dict()}

    def lines() -> Iterator[str]:
        yield from _voxel_lines(found)
        if inspection is not None:
            yield from _segment_lines(inspection, limit)
        elif why_not is not None:
            yield f"nothing more about the segment: {why_not}"

    return document, lines()


def _two(config: Config, one: int, other: int, limit: int) -> tuple[dict[str, Any], Iterator[str]]:
    """Why two segments or fragments are one, or not."""
    from fgnet_pipeline.commands.inspect_two import lines_of_two
    from fgnet_pipeline.evaluation.joining import joining

    found = joining(config, one, other)
    return found.to_dict(), lines_of_two(found, limit)


def _voxel_lines(found: VoxelFound) -> Iterator[str]:
    nm = ", ".join(f"{v:.10g}" for v in found.nm)
    outside = "" if found.in_region else "; it is outside the region of interest"
    tissue = "; the mask has no tissue here" if found.is_tissue is False else ""
    yield f"voxel {list(found.voxel)}, middle {nm} nm (z, y, x){outside}{tissue}"
    if found.raw is not None:
        yield f"raw: {found.raw}"
    for offset, value in zip(found.neighbourhood or (), found.affinities or (), strict=True):
        yield f"affinity with the voxel at {offset}: {value:.4f}"
    for name, id_ in (("fragment", found.fragment), ("segment", found.segment)):
        yield f"{name}: {'not known' if id_ is None else 'none (background)' if id_ == 0 else id_}"
    yield from found.notes
    yield "blocks that hold this voxel, with the state of their records"
    rows = [
        [b.task, ",".join(map(str, b.block)), f"{_numbers(b.begin)} to {_numbers(b.end)}", b.key or "-", b.state]
        for b in found.blocks
    ]
    yield from table(BLOCK_TITLES, rows, left=len(BLOCK_TITLES), columns=terminal_columns())
    for b in found.blocks:
        if b.error is not None:
            yield f"{b.task} failed: {b.error} ({b.log})"


def _numbers(values: list[int]) -> str:
    return ",".join(map(str, values))


def _segment_lines(found: Inspection, limit: int) -> Iterator[str]:
    yield (f"segment {found.segment} at threshold {found.threshold:g}: {found.voxels} voxels, "
           f"{len(found.fragments)} fragments, {found.merges} merges, "
           f"voxels {list(found.begin)} to {list(found.end)}")  # fmt: skip
    if found.cut_by_region:
        yield "it reaches the border of the region of interest: the neuron may go on in what was not computed"
    yield "largest fragments (id, voxels, a voxel inside)"
    for f in found.fragments[:limit]:
        yield f"  {f.id:20d} {f.voxels:10d} {list(f.point)}"
    for title, merges in (("strongest", found.strongest), ("weakest", found.weakest)):
        yield f"{title} merges ({found.scored_by}, faces, voxels of both sides, position)"
        yield from map(merge_line, merges)
    yield f"neighbours (segment, {found.scored_by}, faces, position)"
    for n in found.neighbours[:limit]:
        yield f"  {n.segment:20d} {n.score:8.4f} {n.count:8d} {[round(v) for v in n.position]}"
