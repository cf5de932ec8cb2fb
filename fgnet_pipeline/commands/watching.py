"""Looking at a job: status, inspect."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from ..errors import InputError
from .options import ConfigFile, Json, Overrides, Workers, configured


def status_command(config: ConfigFile, set_: Overrides = None, workers: Workers = None, as_json: Json = False) -> None:
    """Blocks done, failed and left of every stage, voxels per second, and the time left."""
    from ..run import status

    stages = status(configured(config, set_, workers))
    if as_json:
        typer.echo(json.dumps({"stages": [asdict(stage) for stage in stages]}))
        return
    typer.echo(
        f"{'stage':12s} {'blocks':>8s} {'done':>8s} {'failed':>7s} {'left':>8s} {'Mvoxel/s':>9s} {'time left':>10s}"
    )
    for s in stages:
        rate = "-" if s.voxels_per_second is None else f"{s.voxels_per_second / 1e6:.3g}"
        eta = "-" if s.seconds_left is None else f"{s.seconds_left:.0f} s"
        typer.echo(f"{s.stage:12s} {s.blocks:8d} {s.done:8d} {s.failed:7d} {s.left:8d} {rate:>9s} {eta:>10s}")


def inspect_command(
    config: ConfigFile,
    segment: Annotated[str, typer.Argument(help="Id of a segment.")],
    set_: Overrides = None,
    workers: Workers = None,
    limit: Annotated[int, typer.Option(min=0, help="How many rows of each list are printed.")] = 10,
    as_json: Json = False,
) -> None:
    """Why a segment is what it is: fragments, strongest and weakest merges, neighbours."""
    from ..inspect_segment import inspect_segment

    found = inspect_segment(configured(config, set_, workers), _id(segment), limit)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    typer.echo(f"segment {found.segment} at threshold {found.threshold:g}: {found.voxels} voxels, "
               f"{len(found.fragments)} fragments, {found.merges} merges, "
               f"voxels {list(found.begin)} to {list(found.end)}")  # fmt: skip
    typer.echo("largest fragments (id, voxels, a voxel inside)")
    for f in found.fragments[:limit]:
        typer.echo(f"  {f.id:20d} {f.voxels:10d} {list(f.point)}")
    for title, merges in (("strongest", found.strongest), ("weakest", found.weakest)):
        typer.echo(f"{title} merges (mean affinity, faces, voxels of both sides, where)")
        for m in merges:
            where = [round(v) for v in m.position or ()]
            typer.echo(f"  {m.mean:8.4f} {m.count:8d} {m.voxels_a:10d} + {m.voxels_b:<10d} {where}")
    typer.echo("neighbours (segment, mean affinity, faces, where)")
    for n in found.neighbours[:limit]:
        typer.echo(f"  {n.segment:20d} {n.mean:8.4f} {n.count:8d} {[round(v) for v in n.position]}")


def _id(text: str) -> int:
    if not text.lstrip("-").isdecimal():
        raise InputError("SEGMENT", text, "a whole number", "take an id from the segmentation")
    return int(text)
