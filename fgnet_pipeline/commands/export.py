"""`fgnet export`: write a result in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_pipeline.commands.options import DryRun, Overrides, Result, Workers, configured_result
from fgnet_pipeline.core.errors import InputError


def export_command(
    config: Result,
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="Format (docs/reference/exports.md).")],
    to: Annotated[
        str,
        typer.Option("--to", metavar="PATH", help="Folder or file to write; of a graph also the URL of a database."),
    ],
    array: Annotated[
        list[str] | None, typer.Option("--array", metavar="NAME", help="Array to write. May be repeated.")
    ] = None,
    levels: Annotated[int | None, typer.Option(min=1, help="Number of levels of the pyramid.")] = None,
    compact_ids: Annotated[
        bool, typer.Option("--compact-ids", help="Number the ids 1, 2, 3, ..., and write the table of both.")
    ] = False,
    segment: Annotated[
        list[str] | None, typer.Option("--segment", metavar="ID", help="Segment to write. May be repeated.")
    ] = None,
    min_voxels: Annotated[int, typer.Option(min=0, help="Leave out smaller segments.")] = 0,
    progress: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Records of the export; by default PATH.progress.")
    ] = None,
    set_: Overrides = None,
    workers: Workers = None,
    dry_run: DryRun = False,
) -> None:
    """Write a result in the format of another tool. The same command continues an export that was interrupted."""
    if not dry_run and workers != 0:
        from fgnet_pipeline.execution.processes.fork_server import server_with

        server_with(["fgnet_pipeline.commands.export_preload"])  # it imports while this process does
    from fgnet_pipeline.commands.progress_bars import Bars
    from fgnet_pipeline.execution.resume import left
    from fgnet_pipeline.exports import export as exporting
    from fgnet_pipeline.exports.format import Options

    options = Options(tuple(array or ()), levels, compact_ids, tuple(map(_id, segment or ())), min_voxels)
    job = exporting.open_export(configured_result(config, set_, workers), format_, to, options, progress)
    if dry_run:
        for task in job.tasks:
            state = left(job, task.name)
            typer.echo(f"{task.name:24s} {int(state.todo.sum())} of {int(state.active.sum())} blocks to compute")
        return
    with Bars() as bars:
        lines = exporting.export(job, bars, bars.say)
    for line in lines:
        typer.echo(line)


def _id(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 63:
        raise InputError("--segment", text, "the id of a segment", "take an id from the segmentation")
    return int(text)
