"""`fgnet sweep`: scores over agglomeration thresholds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result
from fgnet_pipeline.commands.tables import flowing


def sweep_command(
    config: Result,
    labels: Annotated[str, typer.Argument(help="Zarr array of ground truth. Voxels with 0 are ignored.")],
    set_: Overrides = None,
    workers: Workers = None,
    begin: Annotated[str | None, typer.Option(help="First voxel of the labels to score, as z,y,x.")] = None,
    end: Annotated[str | None, typer.Option(help="Voxel after the last one to score, as z,y,x.")] = None,
    threshold: Annotated[list[float] | None, typer.Option(help="A threshold to score. May be repeated.")] = None,
    first: Annotated[float, typer.Option("--from", help="First threshold, if --threshold is not given.")] = 0.02,
    last: Annotated[float, typer.Option("--to", help="Last threshold.")] = 0.98,
    step: Annotated[float, typer.Option("--step", help="Distance between two thresholds.")] = 0.02,
    png: Annotated[Path | None, typer.Option(help="File for the curve. Default: sweep.png in the output.")] = None,
    as_json: Json = False,
) -> None:
    """Score many agglomeration thresholds from the stored merge tree of a finished run.

    Nothing is segmented again.
    """
    from fgnet_pipeline.core.cache_folder import settle_matplotlib
    from fgnet_pipeline.core.user_paths import check_file_to_write

    settle_matplotlib()
    from fgnet_pipeline.evaluation.sweep import steps, sweep
    from fgnet_pipeline.evaluation.sweep_plot import save_curve

    if png is not None:
        check_file_to_write(png, "--png")
    resolved = configured_result(config, set_, workers)
    job, result = sweep(resolved, labels, threshold or steps(first, last, step), begin, end)
    picture = png or job.output.state / "sweep.png"
    save_curve(result, picture, f"{job.output.path.rstrip('/').rpartition('/')[2]} against {labels}")
    if as_json:
        typer.echo(json.dumps({**result.to_dict(), "png": str(picture)}))
        return
    typer.echo(f"{'threshold':>9s} {'VOI split':>9s} {'merge':>9s} {'sum':>9s} {'Rand error':>10s}")
    for p, segments in zip(result.curve, result.segments, strict=True):
        voi = f"{p.voi_split:9.4f} {p.voi_merge:9.4f} {p.voi_sum:9.4f}"
        few = f"  {('no segment', 'one segment')[segments]}" if segments < 2 else ""
        typer.echo(f"{p.threshold:9g} {voi} {p.adapted_rand_error:10.4f}{'  best' if p == result.best else ''}{few}")
    low, high = result.plateau
    typer.echo(f"best threshold {result.best.threshold:g}; plateau {low:g} to {high:g}; "
               f"far from cliffs: {result.robust.threshold:g}\n{picture}")  # fmt: skip
    for sentence in result.warnings:
        typer.echo(flowing(f"warning: {sentence}"))
