"""Section of scores against labels. Who asks for the report computes them; here they are plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgnet_pipeline.kernels.error_pairs import ErrorPair
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.charts import Axes, Line, lines
from fgnet_pipeline.views.report.html import Html, Section, group, how, lacking, paragraph, table
from fgnet_pipeline.views.report.result import Result

Position = tuple[float, float, float]


@dataclass(frozen=True)
class ScoredPoint:
    """Scores at one threshold: VOI in bits, adapted Rand error in [0, 1], number of segments."""

    threshold: float
    voi_split: float
    voi_merge: float
    adapted_rand_error: float
    segments: int


@dataclass(frozen=True)
class WrongPair:
    """Two labels that one segment joins, or two segments that share one label.

    Attributes:
        pair: the two parts of one whole; of a merger the whole is the segment.
        faces: between voxels of both parts; 0 if they do not touch.
        position: a voxel of the smaller part, zyx, at the contact if there is one.
    """

    pair: ErrorPair
    faces: int
    position: Position


@dataclass(frozen=True)
class Scores:
    """Scores against labels.

    Attributes:
        labels: path or URL.
        voxels: number of voxels that were scored.
        curve: by rising threshold.
        best: threshold with the lowest VOI.
        plateau: thresholds between which VOI is nearly the best.
        mergers: those that cost most, the worst first.
        splits: those that cost most, the worst first.
        warnings: sentences about what the scores hide.
        why_not: why there are no scores; None if there are.
    """

    labels: str
    voxels: int = 0
    curve: Sequence[ScoredPoint] = ()
    best: float = 0.0
    plateau: tuple[float, float] = (0.0, 0.0)
    mergers: Sequence[WrongPair] = ()
    splits: Sequence[WrongPair] = ()
    warnings: Sequence[str] = ()
    why_not: str | None = None


def scores_section(result: Result, scores: Scores) -> Section:
    """The threshold curve, and the worst mergers and splits."""
    section = Section("scores", "Scores against labels")
    section.add(paragraph(f"Labels: {scores.labels}"))
    if scores.why_not is not None:
        return section.add(lacking([scores.why_not]))
    section.warnings += scores.warnings
    section.add(_curve(result, scores), _points(result, scores))
    section.add(
        how("A merger is a segment that holds a second label, a split a label that a second segment shares. Voxels are "
            "those of the smaller part; bits say by how much the VOI would fall without this error. The position is a "
            "voxel of the smaller part: at the contact of both parts, or if they do not touch, deep inside."),
    )  # fmt: skip
    for title, names, pairs in (
        ("The worst mergers", ("segment", "label", "joined with label"), scores.mergers),
        ("The worst splits", ("label", "segment", "and segment"), scores.splits),
    ):
        rows = [
            (str(p.pair.whole), str(p.pair.one), str(p.pair.other), numbers.whole(p.pair.voxels),
             f"{p.pair.bits:.4f}", numbers.whole(p.faces), numbers.voxel(p.position),
             numbers.nm(result.nm(p.position)))
            for p in pairs
        ]  # fmt: skip
        columns = (*names, "voxels", "bits", "contact", "position", "in nm")
        section.add(table(title, columns, rows) if rows else paragraph(f"{title}: none."))
    return section


def _curve(result: Result, scores: Scores) -> Html:
    x = [point.threshold for point in scores.curve]
    values = [
        Line("VOI, sum (bits)", x, [point.voi_split + point.voi_merge for point in scores.curve]),
        Line("VOI merge (bits)", x, [point.voi_merge for point in scores.curve]),
        Line("VOI split (bits)", x, [point.voi_split for point in scores.curve]),
    ]
    marks = {result.threshold: f"chosen: {result.threshold:g}"}
    title = "Variation of information over thresholds; lower is better"
    return group("charts", [lines(Axes(title, "threshold", "bits", marks, as_share=False), values)])


def _points(result: Result, scores: Scores) -> Html:
    """The scores at the chosen threshold and at the best one."""
    rows = []
    for name, threshold in (("chosen", result.threshold), ("best", scores.best)):
        point = min(scores.curve, key=lambda p: abs(p.threshold - threshold))
        total = point.voi_split + point.voi_merge
        rows.append((name, f"{point.threshold:g}", f"{point.voi_split:.4f}", f"{point.voi_merge:.4f}", f"{total:.4f}",
                     f"{point.adapted_rand_error:.4f}", str(point.segments)))  # fmt: skip
    columns = ("threshold", "value", "VOI split", "VOI merge", "VOI sum", "adapted Rand error", "segments")
    low, high = scores.plateau
    caption = f"{numbers.whole(scores.voxels)} voxels; VOI is nearly the best from {low:g} to {high:g}"
    return table(caption, columns, rows)
