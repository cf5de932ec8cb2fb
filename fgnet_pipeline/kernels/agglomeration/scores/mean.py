"""The mean affinity of a contact: sum / count of its affinities, compared as an exact fraction."""

from typing import Any

from fgnet_pipeline.kernels.agglomeration.scores.score import Part, Score


class _Mean(Score):
    def fingerprint(self, part: Part | None) -> dict[str, Any]:
        """Add nothing: fingerprints of trees by the mean have no key for the score."""
        return {}


SCORE = _Mean("mean")
