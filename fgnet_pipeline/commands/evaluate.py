"""`fgnet evaluate`: score a segmentation against labels."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fgnet_pipeline.commands.options import Json


def evaluate_command(
    segmentation: Annotated[str, typer.Argument(help="Zarr array of segment ids, e.g. out.zarr/segmentation.")],
    labels: Annotated[str, typer.Argument(help="Zarr array of ground truth. Voxels with 0 are ignored.")],
    begin: Annotated[str | None, typer.Option(help="First voxel of the labels to score, as z,y,x.")] = None,
    end: Annotated[str | None, typer.Option(help="Voxel after the last one to score, as z,y,x.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of threads.")] = 1,
    protocol: Annotated[
        str,
        typer.Option(
            help="Rules for scoring. fgnet: all labelled voxels. cremi: borders of 25 nm are ignored. snemi: the Rand "
            "error of that challenge."
        ),
    ] = "fgnet",
    as_json: Json = False,
) -> None:
    """Score a segmentation against labels: VOI (bits), adapted Rand error and CREMI score.

    docs/reference/evaluation.md defines the scores.
    """
    from fgnet_pipeline.evaluation.comparison import compare

    scores = compare(segmentation, labels, begin, end, workers, protocol)
    if as_json:
        typer.echo(json.dumps(scores.to_dict()))
        return
    for name, value in scores.to_dict().items():
        if isinstance(value, float):
            typer.echo(f"{name:20s} {value:.6g}")
        elif not isinstance(value, dict | list):
            typer.echo(f"{name:20s} {value}")
    for sentence in scores.warnings:
        typer.echo(f"warning: {sentence}")
