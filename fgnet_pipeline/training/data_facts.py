"""What a labelled volume looks like, measured on cubes at fixed positions in a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.training.border_shift import BorderFit, borders, fit_borders
from fgnet_pipeline.training.volumes import LabelledBox
from fgnet_pipeline.training.zero_labels import fill_membranes

#: Shape of a cube at most, zyx in voxels, and where cubes lie: shares of the room that is left, zyx.
CUBE = (48, 192, 192)
PLACES = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.5, 1.0, 0.0))
#: Percentiles of normalised raw that tell one contrast from another.
PERCENTILES = (5, 25, 50, 75, 95)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Look:
    """Statistics of the grey values of data. The header of exported weights holds those of the training data.

    Attributes:
        borders: mean of raw at label borders minus its mean elsewhere, deviations; below 0 = dark membranes. None if
            labels have too few borders.
        grey: `PERCENTILES` of the normalised raw.
    """

    borders: float | None
    grey: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded."""
        shown = None if self.borders is None else round(self.borders, 3)
        return {"borders": shown, "grey": [round(g, 3) for g in self.grey]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Look | None:
        """The inverse of `to_dict`; None if something is missing."""
        try:
            borders, grey = values["borders"], tuple(float(g) for g in values["grey"])
            return cls(None if borders is None else float(borders), grey) if len(grey) == len(PERCENTILES) else None
        except (KeyError, TypeError, ValueError):
            return None


class DataFacts:
    """Facts about one labelled box; every fact is computed when it is first asked for."""

    def __init__(self, box: LabelledBox) -> None:
        if box.zero == "ignore" and box.drawn.choice == "membrane" and box.field.startswith("data.validation"):
            # Scores leave out membranes, but borders and grey values are compared with those of training volumes.
            box = replace(box, labels=fill_membranes(box.labels, box.labels == 0, box.drawn.reach, box.isotropic))
        self.box = box
        shape = [min(n, c) for n, c in zip(box.labels.shape, CUBE, strict=True)]
        room = [n - s for n, s in zip(box.labels.shape, shape, strict=True)]
        begins = {tuple(round(r * share) for r, share in zip(room, place, strict=True)) for place in PLACES}
        self.cubes = [tuple(slice(b, b + s) for b, s in zip(begin, shape, strict=True)) for begin in sorted(begins)]

    def _labels(self) -> Iterator[Array]:
        return (self.box.labels[cube] for cube in self.cubes)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Voxels of every object of the box."""
        counts = np.zeros(int(self.box.labels.max()) + 1, np.int64)
        for section in self.box.labels:  # a whole volume would be copied as 64-bit numbers
            counts += np.bincount(section.ravel(), minlength=counts.size)
        return counts[1:][counts[1:] > 0]

    @cached_property
    def has_borders(self) -> bool:
        """Whether two objects touch within any section; if they touch along z alone, y and x learn no border."""
        return any(borders(section[None], isotropic=False).any() for section in self.box.labels)

    @cached_property
    def border_share(self) -> float:
        """Share of the voxels that have a neighbour with another label."""
        return float(np.mean([borders(labels, self.box.isotropic).mean() for labels in self._labels()]))

    @cached_property
    def linked_share(self) -> float | None:
        """Share of labelled voxels that have the same label one section further; None if there are too few pairs."""
        same = pairs = 0
        for labels in self._labels():
            known = (labels[1:] > 0) & (labels[:-1] > 0)
            pairs += int(known.sum())
            same += int((known & (labels[1:] == labels[:-1])).sum())
        return same / pairs if pairs else None

    @cached_property
    def fit(self) -> BorderFit | None:
        """Where label borders lie against the picture."""
        return fit_borders([(self.box.raw[c], self.box.labels[c]) for c in self.cubes], self.box.isotropic)

    @cached_property
    def look(self) -> Look:
        """Statistics of the grey values of labelled voxels."""
        values = np.concatenate([self.box.raw[c][self.box.labels[c] > 0] for c in self.cubes])
        if not values.size:
            values = self.box.raw[self.box.labels > 0]
        grey = np.percentile(values, PERCENTILES)
        return Look(self.fit.here if self.fit else None, tuple(float(g) for g in grey))


def table(facts: list[DataFacts]) -> list[str]:
    """One line per volume, with a heading, at most 80 columns."""
    heading = ("data", "voxels", "objects", "median", "zero", "0 is", "borders", "linked", "contrast")
    rows = [heading, *(_row(f) for f in facts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heading))]
    return ["  ".join([r[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(r[1:], widths[1:], strict=True))])
            for r in rows]  # fmt: skip


def _row(facts: DataFacts) -> tuple[str, ...]:
    box = facts.box
    return (
        box.field.removeprefix("data."),
        f"{box.labels.size / 1e6:.3g}M",
        str(len(facts.sizes)),
        str(int(np.median(facts.sizes))),
        f"{100 * box.share_of_zero:.1f}%",
        "filled" if box.zero == "membrane" else "ignored",
        f"{100 * facts.border_share:.1f}%",
        "-" if facts.linked_share is None else f"{100 * facts.linked_share:.1f}%",
        "-" if facts.fit is None else f"{facts.fit.here:+.2f}",
    )
