"""Rates at the faces of blocks against rates at parallel planes inside blocks, with the uncertainty of both.

Voxels beside each other say nearly the same, so a plane is the unit of observation, not a voxel: a rate is a ratio of
sums over planes, and its standard error is that of a ratio estimator (Cochran, Sampling Techniques, 1977, section 6.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Counts = npt.NDArray[np.int64]
#: A place stands out if it exceeds the rate inside blocks by this, and by so many standard errors.
RATE, ERRORS = 0.01, 3
#: Fewer split or merged voxels are no place to look at.
LEAST = 32
#: Voxels that count as one observation at least, if planes do not say how alike neighbours are.
CORRELATED = 16.0
#: What a comparison says if faces have more.
MORE = "more at faces"


@dataclass(frozen=True)
class Rate:
    """A share of facing voxels, over several planes.

    Attributes:
        hits: (n,) of each plane.
        of: (n,) facing voxels of each plane. Planes without any say nothing.
    """

    hits: Counts
    of: Counts

    @property
    def value(self) -> float:
        """The share, in [0, 1]; NaN if nothing was counted."""
        total = int(self.of.sum())
        return int(self.hits.sum()) / total if total else float("nan")

    @property
    def planes(self) -> int:
        """Number of planes that say something."""
        return int((self.of > 0).sum())

    @property
    def variance(self) -> float:
        """Squared standard error of the share; NaN for fewer than two planes."""
        known, n = self.of > 0, self.planes
        if n < 2:
            return float("nan")
        rest = self.hits[known] - self.value * self.of[known]
        return float(n / (n - 1) * (rest**2).sum() / self.of.sum() ** 2)

    @property
    def alike(self) -> float:
        """How many voxels count as one observation: the variance between planes over that of single voxels."""
        known, n, rate = self.of > 0, self.planes, self.value
        if n < 2 or not 0 < rate < 1:
            return CORRELATED
        rest = (self.hits[known] - rate * self.of[known]) ** 2 / (self.of[known] * rate * (1 - rate))
        return max(CORRELATED, float(rest.sum()) / (n - 1))


@dataclass(frozen=True)
class Compared:
    """A rate at faces, and at planes half a block away.

    Attributes:
        face: at faces.
        inside: at planes inside blocks.
    """

    face: Rate
    inside: Rate

    def interval(self) -> tuple[float, float] | None:
        """The difference of both rates, faces less inside, with 95 % confidence; None if there are too few planes."""
        planes = min(self.face.planes, self.inside.planes)
        if planes < 2:
            return None
        difference = self.face.value - self.inside.value
        reach = float(stdtrit(planes - 1, 0.975)) * float(np.sqrt(self.face.variance + self.inside.variance))
        return difference - reach, difference + reach

    def verdict(self) -> str:
        """The comparison in words."""
        interval = self.interval()
        if interval is None:
            return "too few planes"
        if interval[0] > 0:
            return MORE
        return "fewer at faces" if interval[1] < 0 else "no difference"

    def is_outside(self, hits: int, of: int) -> bool:
        """Whether the rate of one face is clearly more than inside blocks.

        It must have `LEAST` hits, exceed the rate inside by `RATE` and by `ERRORS` standard errors, and exceed every
        single plane inside that has as many voxels.

        Args:
            hits: of the face.
            of: facing voxels of the face.
        """
        if hits < LEAST:
            return False
        rate = 0.0 if np.isnan(self.inside.value) else self.inside.value
        error = float(np.sqrt(rate * (1 - rate) * self.inside.alike / of))
        large = self.inside.of >= LEAST
        highest = float((self.inside.hits[large] / self.inside.of[large]).max(initial=0))
        return hits / of - rate >= max(RATE, ERRORS * error) and hits / of > highest
