"""Counts of the voxels that a comparison did not score, and warnings about results that a score hides."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.evaluation.computed import REASONS
from fgnet_pipeline.kernels.contingency import Contingency


@dataclass
class LeftOut:
    """Labelled voxels that were not scored because the segmentation was not computed there.

    Attributes:
        outside: voxels of the labels, with or without a label, that lie outside the array of the segmentation.
    """

    outside: int = 0
    _counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(REASONS), np.int64))
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, reasons: npt.NDArray[np.uint8], labelled: npt.NDArray[np.bool_]) -> None:
        """Count the labelled voxels of a block by the reason for which they are left out; threads may call this.

        Args:
            reasons: (z, y, x), places in `REASONS`; 0 is a voxel that is scored.
            labelled: (z, y, x), whether each voxel has a label.
        """
        counts = np.bincount(reasons[labelled], minlength=len(REASONS))
        with self._lock:
            self._counts += counts

    @property
    def voxels(self) -> int:
        """Number of labelled voxels that were left out."""
        return int(self._counts[1:].sum())

    @property
    def because(self) -> dict[str, int]:
        """Reason -> number of labelled voxels; reasons without voxels are missing."""
        return {name: int(n) for name, n in zip(REASONS[1:], self._counts[1:], strict=True) if n}

    def share(self, scored: int) -> float:
        """The share of all labelled voxels of the comparison that was left out.

        Args:
            scored: number of voxels that were scored.
        """
        return self.voxels / (self.voxels + scored) if self.voxels else 0.0

    def fields(self, scored: int) -> dict[str, Any]:
        """The fields of JSON documents."""
        return {
            "left_out": self.voxels,
            "left_out_share": self.share(scored),
            "left_out_because": self.because,
            "outside_segmentation": self.outside,
        }

    def sentences(self, scored: int) -> list[str]:
        """One sentence per kind of voxels that were left out; none if all were scored."""
        said = []
        if self.voxels:
            parts = ", ".join(f"{count} {reason}" for reason, count in self.because.items())
            said.append(f"left out: {self.voxels} labelled voxels ({self.share(scored):.1%}) that were not computed: "
                        f"{parts}")  # fmt: skip
        if self.outside:
            said.append(f"left out: {self.outside} voxels of the labels that lie outside the segmentation")
        return said


def segments_in(table: Contingency) -> int:
    """Number of segments in a contingency table, without the background."""
    ids = np.unique(table.segments)
    return int((ids > 0).sum())


def degenerate(segments: int) -> str | None:
    """A warning if a segmentation has one segment or none: its scores say nothing about the method."""
    if segments > 1:
        return None
    found = "one segment" if segments else "no segment"
    return f"the segmentation holds {found} in the voxels that were scored"
