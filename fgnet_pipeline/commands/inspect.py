"""`fgnet inspect`: explain a segment."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result
from fgnet_pipeline.commands.tables import flowing
from fgnet_pipeline.core.errors import InputError


def inspect_command(
    config: Result,
    segment: Annotated[str, typer.Argument(help="Id of the segment.")],
    set_: Overrides = None,
    workers: Workers = None,
    limit: Annotated[int, typer.Option(min=0, help="Greatest number of rows per list.")] = 10,
    as_json: Json = False,
) -> None:
    """Explain a segment: its fragments, its strongest and weakest merges, and its neighbours."""
    from fgnet_pipeline.evaluation.inspect_segment import inspect_segment

    found = inspect_segment(configured_result(config, set_, workers), _id(segment), limit)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    head = (f"segment {found.segment} at threshold {found.threshold:g}: {found.voxels} voxels, "
               f"{len(found.fragments)} fragments, {found.merges} merges, "
               f"voxels {list(found.begin)} to {list(found.end)}")  # fmt: skip
    typer.echo(flowing(head))
    if found.cut_by_region:
        said = "it reaches the border of the region of interest: the neuron may go on in what was not computed"
        typer.echo(flowing(said))
    typer.echo("largest fragments (id, voxels, a voxel inside)")
    for f in found.fragments[:limit]:
        typer.echo(f"  {f.id:20d} {f.voxels:10d} {list(f.point)}")
    for title, merges in (("strongest", found.strongest), ("weakest", found.weakest)):
        typer.echo(f"{title} merges ({found.scored_by}, faces, voxels of both sides, position)")
        for m in merges:
            where = [round(v) for v in m.position or ()]
            typer.echo(f"  {m.score:8.4f} {m.count:8d} {m.voxels_a:10d} + {m.voxels_b:<10d} {where}")
    typer.echo(f"neighbours (segment, {found.scored_by}, faces, position)")
    for n in found.neighbours[:limit]:
        typer.echo(f"  {n.segment:20d} {n.score:8.4f} {n.count:8d} {[round(v) for v in n.position]}")


def _id(text: str) -> int:
    if not text.lstrip("-").isdecimal():
        raise InputError("SEGMENT", text, "a whole number", "take an id from the segmentation")
    return int(text)
