"""`fgnet evaluate`: score a segmentation against labels, against skeletons, or both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_pipeline.commands.csv_file import write_csv
from fgnet_pipeline.commands.options import Json

if TYPE_CHECKING:
    from fgnet_pipeline.evaluation.comparison import StoredComparison
    from fgnet_pipeline.evaluation.skeleton_scores import SkeletonScores


def evaluate_command(
    segmentation: Annotated[str, typer.Argument(help="Zarr array of segment ids, e.g. out.zarr/segmentation.")],
    labels: Annotated[str | None, typer.Argument(help="Zarr array of ground truth. Voxels with 0 are ignored.")] = None,
    skeletons: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="SWC files, or precomputed skeletons, of true neurons.")
    ] = None,
    skeleton_unit: Annotated[str, typer.Option(metavar="UNIT", help="Unit of SWC files that state none.")] = "nm",
    skeletons_from_labels: Annotated[
        bool, typer.Option("--skeletons-from-labels", help="Make the skeletons from LABELS.")
    ] = False,
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
    worst: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many splits, and mergers, to list with their places.")
    ] = 5,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="File for the list of --worst.")] = None,
    fragments: Annotated[
        str | None,
        typer.Option(metavar="ARRAY", help="Fragments that were merged, for the oracle. Default: those of the output."),
    ] = None,
    oracle: Annotated[
        bool, typer.Option(help="Score the fragments as if they were merged without an error, too.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Score a segmentation against labels (VOI, adapted Rand error, CREMI score), against skeletons, or both.

    docs/reference/evaluation.md defines the scores.
    """
    from fgnet_pipeline.commands.score_tables import print_scores, print_skeletons, print_worst

    _check(labels, skeletons, skeletons_from_labels)
    _check_csv(labels, worst, csv)
    scoring = Scoring(
        skeleton_unit, skeletons_from_labels, merge_nodes, begin, end, workers, protocol, worst, fragments, oracle
    )
    document, errors = score(segmentation, labels, skeletons, scoring)
    if csv is not None:
        from fgnet_pipeline.evaluation.worst_errors import errors_text

        write_csv(csv, errors_text(errors))
    if as_json:
        typer.echo(json.dumps(document))
        return
    print_scores(document)
    print_worst(document)
    if "skeletons" in document:
        print_skeletons(document["skeletons"])


@dataclass(frozen=True)
class Scoring:
    """How a segmentation is scored. The options of `fgnet evaluate` explain each value."""

    skeleton_unit: str = "nm"
    skeletons_from_labels: bool = False
    merge_nodes: int = 1
    begin: str | None = None
    end: str | None = None
    workers: int = 1
    protocol: str = "fgnet"
    worst: int = 5
    fragments: str | None = None
    oracle: bool = True


def score(
    segmentation: str, labels: str | None, skeletons: str | None, scoring: Scoring
) -> tuple[dict[str, Any], list[Any]]:
    """Score a segmentation.

    Args:
        segmentation: path or URL of a Zarr array of segment ids.
        labels: path or URL of a Zarr array of ground truth; None for none.
        skeletons: folder of true skeletons; None for none.
        scoring: how.

    Returns:
        (document, errors): the document of `fgnet evaluate --json`, and the worst splits and mergers.

    Raises:
        InputError: bad input, or nothing to score against.
    """
    from fgnet_pipeline.evaluation.comparison import open_comparison
    from fgnet_pipeline.evaluation.label_scores import score_labels
    from fgnet_pipeline.evaluation.oracle import find_fragments
    from fgnet_pipeline.evaluation.skeleton_scores import score_skeletons
    from fgnet_pipeline.store.volume import open_volume

    _check(labels, skeletons, scoring.skeletons_from_labels)
    document: dict[str, Any] = {}
    errors: list[Any] = []
    volume = open_volume(segmentation, "SEGMENTATION")
    merged = find_fragments(volume, scoring.fragments) if scoring.oracle else None
    by_skeletons = None
    if skeletons is not None:
        by_skeletons = score_skeletons(segmentation, skeletons, scoring.skeleton_unit, scoring.merge_nodes, merged)
    if labels is not None:
        stored = open_comparison(segmentation, labels, scoring.begin, scoring.end, scoring.workers, scoring.protocol)
        found = score_labels(stored, merged, scoring.worst)
        document, errors = found.to_dict(), list(found.worst or [])
        if scoring.skeletons_from_labels:
            by_skeletons = _by_labels(stored, scoring.merge_nodes, merged)
    if by_skeletons is not None:
        document["skeletons"] = by_skeletons.to_dict()
    return document, errors


def _check(labels: str | None, skeletons: str | None, from_labels: bool) -> None:
    """Check that there is something to score against.

    Raises:
        InputError: nothing to score against, or options that do not go together.
    """
    from fgnet_pipeline.core.errors import InputError

    if labels is None and skeletons is None:
        expected = "an array of ground truth, or --skeletons"
        raise InputError("LABELS", None, expected, "name one of them")
    if from_labels and (labels is None or skeletons is not None):
        expected = "labels, and no --skeletons beside it"
        raise InputError("--skeletons-from-labels", "true", expected, "name LABELS, or leave one of both options out")


def _check_csv(labels: str | None, worst: int, csv: Path | None) -> None:
    """Check the file for the list of errors, before anything is computed.

    Raises:
        InputError: there will be no list, or the file cannot be written.
    """
    from fgnet_pipeline.core.errors import InputError
    from fgnet_pipeline.core.user_paths import check_file_to_write

    if csv is None:
        return
    if labels is None:
        expected = "labels, against which errors are found"
        raise InputError("--csv", str(csv), expected, "name LABELS")
    if not worst:
        raise InputError("--worst", worst, "at least 1 with --csv", "change it, or leave --csv out")
    check_file_to_write(csv, "--csv")


def _by_labels(stored: StoredComparison, merge_nodes: int, fragments: Any) -> SkeletonScores:
    from dataclasses import replace

    from fgnet_pipeline.evaluation.label_skeletons import skeletons_of_labels
    from fgnet_pipeline.evaluation.skeleton_scores import scores_by

    made = skeletons_of_labels(stored.comparison, stored.frame)
    return scores_by(replace(stored.volume, frame=stored.frame), made, merge_nodes, fragments)
