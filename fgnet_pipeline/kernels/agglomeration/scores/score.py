"""What a score is, and how scores are found.

A score gives every edge of the region adjacency graph one number, from the affinities (0..255) of its contact. Edges
with higher scores merge first, and a threshold in [0, 1] is compared with the number divided by 255.

To add a score, write one file in this folder that defines `SCORE`, or name such an object in the entry-point group
`fgnet_pipeline.scores` of another distribution. The score must be reducible (docs/decisions/scores.md): the score of
two contacts together is at most the better one of the two. Otherwise the result depends on how space is divided.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.registry import discover
from fgnet_pipeline.kernels.compiled import cfunc

PACKAGE, ATTRIBUTE, GROUP = "fgnet_pipeline.kernels.agglomeration.scores", "SCORE", "fgnet_pipeline.scores"

MAXIMUM_AFFINITY = 255

Part = tuple[int, int]
Value = Callable[[Any, int, int, int], int]

SIGNATURE = "int64(int64[::1], int64, int64, int64)"
"""Of every compiled value. The heap is compiled once for this signature, so a new score compiles its own lines only."""


@dataclass(frozen=True, eq=False)
class Score:
    """A score without a parameter; a score with one overrides `part`, `text` and `fingerprint`.

    Attributes:
        name: value of `agglomerate.score`.
        value: called as `value(bins, count, p, q)`, compiled by numba. bins: int64 (256,), how often each affinity
            occurs. count: int64, their number, above 0. p, q: the score's parameter. It returns the score, 0..255.
            None: the mean of the affinities, for which sums and counts suffice.
    """

    name: str
    value: Value | None = None

    @property
    def needs_histogram(self) -> bool:
        """Whether edge tables must say how often each affinity occurs."""
        return self.value is not None

    @cached_property
    def compiled(self) -> Any:
        """`value` as a first-class function of numba, compiled or loaded on first use."""
        return cfunc(SIGNATURE, _no_value if self.value is None else self.value)

    def part(self, quantile: float | None) -> Part | None:
        """The parameter (p, q) of the score; None if it has none.

        Args:
            quantile: value of `agglomerate.quantile`.

        Raises:
            InputError: The score has no parameter, or does not take this one.
        """
        if quantile is not None:
            raise InputError(
                "agglomerate.quantile",
                quantile,
                f"no value, since agglomerate.score is the {self.name}",
                'leave it out, or set agglomerate.score = "quantile"',
            )
        return None

    def check(self, quantile: float | None, histogram: bool | None) -> None:
        """Refuse a configuration that contradicts the score.

        Args:
            quantile: value of `agglomerate.quantile`.
            histogram: value of `edges.histogram`.

        Raises:
            InputError: The score does not take the quantile, or lacks the histograms that it needs.
        """
        self.part(quantile)
        if histogram is False and self.needs_histogram:
            raise InputError(
                "edges.histogram",
                False,
                f'true, since agglomerate.score = "{self.name}" is taken of histograms',
                "leave it out, or score by the mean",
            )

    def text(self, part: Part | None) -> str:
        """Words for the score with this parameter, such as "mean affinity"."""
        return f"{self.name} affinity"

    def fingerprint(self, part: Part | None) -> dict[str, Any]:
        """What of the score the merge tree depends on; it is kept with the tree."""
        return {"score": self.name}

    def edge_value(self, total: int, count: int, histogram: NDArray[Any] | None, part: Part | None) -> float:
        """The score of one edge.

        Args:
            total: sum of its affinities, 0..255 each.
            count: number of its affinities, above 0.
            histogram: integers (256,), how often each affinity occurs; not read by the mean.
            part: parameter of the score.

        Returns:
            The score in [0, 1].
        """
        if self.value is None:
            return total / (MAXIMUM_AFFINITY * count)
        p, q = part or (0, 1)
        return self.value(np.asarray(histogram, np.int64), count, p, q) / MAXIMUM_AFFINITY


@cache
def scores() -> dict[str, Score]:
    """All scores by name.

    Raises:
        InputError: Two scores have one name, or an entry point does not lead to a score.
    """
    return discover(PACKAGE, ATTRIBUTE, GROUP, Score)


def _no_value(bins: Any, count: int, p: int, q: int) -> int:
    """What the heap is given in place of a value when it merges by the mean; it is never called."""
    return 0
