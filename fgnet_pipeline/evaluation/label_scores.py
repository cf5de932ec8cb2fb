"""Everything that labels say of a segmentation: scores, the oracle, and the worst errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.evaluation.comparison import StoredComparison
from fgnet_pipeline.evaluation.evaluate import Scores
from fgnet_pipeline.evaluation.oracle import oracle_scores, unreadable
from fgnet_pipeline.evaluation.pair_places import PairPlaces
from fgnet_pipeline.evaluation.worst_errors import MERGER, SPLIT, LabelledError, worst_errors
from fgnet_pipeline.store.volume import Volume

#: What is said of the oracle.
_OF_ORACLE = ("voi_split", "voi_merge", "voi_sum", "adapted_rand_error", "cremi_score")


@dataclass(frozen=True)
class LabelScores:
    """What labels say of a segmentation.

    Attributes:
        scores: of the segmentation.
        oracle: of its fragments, merged without an error; None if they are unknown.
        worst: splits, then mergers, the worst of each kind first; None if nobody asked for them.
    """

    scores: Scores
    oracle: Scores | None
    worst: list[LabelledError] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: those of the scores, and `oracle` and `worst` beside them."""
        document = self.scores.to_dict()
        if self.oracle is not None:
            bound = self.oracle.to_dict()
            document["oracle"] = {name: bound[name] for name in _OF_ORACLE}
        if self.worst is not None:
            document["worst"] = {
                "splits": [error.to_dict() for error in self.worst if error.kind == SPLIT],
                "mergers": [error.to_dict() for error in self.worst if error.kind == MERGER],
            }
        return document


def score_labels(stored: StoredComparison, fragments: Volume | None = None, worst: int = 0) -> LabelScores:
    """Score a segmentation against labels, and find its worst errors.

    Args:
        stored: both arrays.
        fragments: that were merged; None leaves the oracle out.
        worst: number of splits, and of mergers, to place at most.

    Raises:
        InputError: the arrays do not fit, or no voxel has a label.
    """
    places = PairPlaces() if worst else None
    table, left_out = stored.comparison.counted(places)
    scores = stored.scores_of(table, left_out)
    found = None if places is None else worst_errors(stored.comparison, table, places, stored.frame, worst)
    oracle = None
    if fragments is not None:
        try:
            oracle = oracle_scores(stored, fragments)
        except InputError as error:
            scores = replace(scores, warnings=[*scores.warnings, unreadable(fragments, error)])
    return LabelScores(scores, oracle, found)
