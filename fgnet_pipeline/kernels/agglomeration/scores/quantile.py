"""A quantile of the affinities of a contact.

The quantile p / q of n affinities is the (floor(n * p / q) + 1)-th smallest: one of the values, never a number
between two of them. It is the `HistogramQuantileAffinity` of waterz with InitWithMax off; the field's `aff85_his256`
is 85 / 100.

So defined it lies between the quantiles of any two parts. At most floor(n1 * p / q) + floor(n2 * p / q) values are
below the smaller of the two quantiles. More than n1 * p / q + n2 * p / q values are not above the larger one. This is
the reducibility that agglomeration needs: everything that is proved for the mean holds for such a quantile. The proof
and the cost are in docs/decisions/scores.md.
"""

from fractions import Fraction
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.kernels.agglomeration.scores.score import Part, Score

DEFAULT = 0.85
"""`agglomerate.quantile` if it is not set: the field's `aff85_his256`."""

DECIMALS = 4
"""Decimals that a quantile may have, so that the product of p and a count fits into 64 bits."""


def value_at(bins: Any, count: int, p: int, q: int) -> int:
    """Find the quantile p / q of a histogram.

    Args:
        bins: integers (256,), how often each affinity occurs.
        count: number of affinities, above 0 and below 2^49.
        p: numerator, at least 0.
        q: denominator, above p, at most 10^4.

    Returns:
        The quantile, 0..255.
    """
    wanted, below = count * p // q, 0
    for value in range(len(bins) - 1):
        below += bins[value]
        if below > wanted:
            return value
    return len(bins) - 1


class _Quantile(Score):
    def part(self, quantile: float | None) -> Part:
        """The quantile as the fraction (p, q) of the decimal number that was typed."""
        part = Fraction(str(DEFAULT if quantile is None else quantile))
        if part.denominator > 10**DECIMALS:
            raise InputError("agglomerate.quantile", quantile, f"at most {DECIMALS} decimals", "round it")
        return part.numerator, part.denominator

    def text(self, part: Part | None) -> str:
        """Words such as "0.85 quantile of affinities"."""
        assert part is not None, "a quantile has a part"
        return f"{part[0] / part[1]:g} quantile of affinities"

    def fingerprint(self, part: Part | None) -> dict[str, Any]:
        """The part; the key alone says that the score is a quantile."""
        assert part is not None, "a quantile has a part"
        return {"quantile": list(part)}


SCORE = _Quantile("quantile", value_at)
