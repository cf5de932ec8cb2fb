"""`fgnet evaluate`: score a segmentation against labels."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.options import Json
from fgnet_pipeline.commands.tables import table, terminal_columns
from fgnet_pipeline.core.errors import InputError

#: How many skeletons are printed. The JSON document lists all of them.
WORST = 10


def evaluate_command(
    segmentation: Annotated[str, typer.Argument(help="Zarr array of segment ids, e.g. out.zarr/segmentation.")],
    labels: Annotated[str | None, typer.Argument(help="Zarr array of ground truth. Voxels with 0 are ignored.")] = None,
    skeletons: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="SWC files, or precomputed skeletons, of true neurons.")
    ] = None,
    skeleton_unit: Annotated[str, typer.Option(metavar="UNIT", help="Unit of SWC files that state none.")] = "nm",
    merge_nodes: Annotated[
        int, typer.Option(min=1, help="A segment holds a skeleton if it holds so many of its nodes.")
    ] = 1,
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
    """Score a segmentation against labels (VOI, adapted Rand error, CREMI score), against skeletons, or both.

    docs/reference/evaluation.md defines the scores.
    """
    from fgnet_pipeline.evaluation.comparison import compare
    from fgnet_pipeline.evaluation.skeleton_scores import score_skeletons

    if labels is None and skeletons is None:
        expected = "an array of ground truth, or --skeletons"
        raise InputError("LABELS", None, expected, "name one of them")
    document: dict[str, Any] = {}
    if labels is not None:
        document = compare(segmentation, labels, begin, end, workers, protocol).to_dict()
    if skeletons is not None:
        document["skeletons"] = score_skeletons(segmentation, skeletons, skeleton_unit, merge_nodes).to_dict()
    if as_json:
        typer.echo(json.dumps(document))
        return
    _print(document)
    if skeletons is not None:
        _print_skeletons(document["skeletons"])


def _print(document: dict[str, Any]) -> None:
    for name, value in document.items():
        if isinstance(value, float):
            typer.echo(f"{name:20s} {value:.6g}")
        elif not isinstance(value, dict | list):
            typer.echo(f"{name:20s} {value}")
    for sentence in document.get("warnings", ()):
        typer.echo(f"warning: {sentence}")


def _print_skeletons(found: dict[str, Any]) -> None:
    """The scores by skeletons, and the skeletons that lose most cable."""
    rows = found["skeletons"]
    typer.echo(f"by {len(rows)} skeletons, lengths in nm:")
    _print(found)
    worst = sorted(rows, key=lambda row: row["expected_run_length"] - row["length"])[:WORST]
    cells = [
        [row["skeleton"], f"{row['length']:.4g}", f"{row['expected_run_length']:.4g}",
         *map(str, (row["segments"], row["split_edges"], row["merged_edges"]))]
        for row in worst
    ]  # fmt: skip
    titles = ("skeleton", "length", "run length", "segments", "splits", "merged")
    typer.echo("\n".join(table(titles, cells, columns=terminal_columns())))
    if found["left_out"]:
        typer.echo(
            f"warning: {found['left_out']} nodes lie outside the segmentation, or in voxels that were not computed"
        )
