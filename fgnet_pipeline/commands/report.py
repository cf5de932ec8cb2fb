"""`fgnet report`: one page about a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result, say
from fgnet_pipeline.commands.tables import flowing

if TYPE_CHECKING:
    from fgnet_pipeline.core.config import Config
    from fgnet_pipeline.views.report.report import Report
    from fgnet_pipeline.views.report.scores import Scores


def report_command(
    result: Result,
    set_: Overrides = None,
    workers: Workers = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="PATH", help="File or folder for the report. Default: among tables and records."),
    ] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Zarr array of labels to score against.")] = None,
    as_json: Json = False,
) -> None:
    """Write one page about a result that opens without a network: what was made, where it is doubtful, what is missing.

    The page needs no finished run. Beside it lies doubt.csv, the queue of a proofreader.
    """
    written = report(configured_result(result, set_, workers), to, labels)
    if as_json:
        queue = None if written.queue is None else str(written.queue)
        found = {"report": str(written.path), "doubt": queue}
        typer.echo(json.dumps({**found, "warnings": written.warnings, "missing": written.missing}))
        return
    for sentence in (*written.warnings, *written.missing):
        say(flowing(sentence))
    typer.echo(written.path)


def report(config: Config, to: Path | None = None, labels: str | None = None) -> Report:
    """Write the report of a run.

    Args:
        config: of the run.
        to: a file or folder; None: among tables and records.
        labels: path or URL of a Zarr array of labels; None for none.

    Returns:
        What was written, and what stands out.

    Raises:
        InputError: bad input; nothing has been written.
    """
    from fgnet_pipeline.store.output import Output
    from fgnet_pipeline.views.report.report import report_places, write_report

    report_places(Output(config.output.path, config.output.state), to)  # before the scores are computed
    return write_report(config, to, None if labels is None else _scores(config, labels))


def _scores(config: Config, labels: str) -> Scores:
    """Scores over thresholds, and the worst errors; or why there are none, if the agglomeration is not finished.

    Raises:
        InputError: labels that do not fit.
    """
    from fgnet_pipeline.core.errors import InputError, PipelineError
    from fgnet_pipeline.evaluation.label_errors import label_errors
    from fgnet_pipeline.evaluation.stored_tree import open_agglomerated
    from fgnet_pipeline.evaluation.sweep import steps, sweep
    from fgnet_pipeline.evaluation.worst_errors import MERGER, SPLIT
    from fgnet_pipeline.store.volume import open_volume
    from fgnet_pipeline.views.report.scores import ScoredPoint, Scores, WrongPair

    open_volume(labels, "--labels")
    try:
        threshold = open_agglomerated(config).config.agglomerate.threshold
        job, found = sweep(config, labels, [*steps(0.02, 0.98, 0.02), threshold])
        errors = label_errors(job, labels, threshold)
    except PipelineError as error:
        if isinstance(error, InputError) and error.field in ("LABELS", "labels", "segmentation"):
            raise InputError("--labels", error.value, error.expected, error.remedy) from error
        return Scores(labels, why_not=f"no scores: {error}")
    pairs = {
        kind: [WrongPair(e.pair, e.faces, e.position) for e in errors if e.kind == kind] for kind in (MERGER, SPLIT)
    }
    points = [
        ScoredPoint(p.threshold, p.voi_split, p.voi_merge, p.adapted_rand_error, segments)
        for p, segments in zip(found.curve, found.segments, strict=True)
    ]
    best = found.best.threshold
    return Scores(labels, found.voxels, points, best, found.plateau, pairs[MERGER], pairs[SPLIT], found.warnings)
