"""Section of percolation: how much of the volume the largest segment takes.

Merging by a threshold percolates: above some threshold segments are neurons, and slightly below it one segment takes
most of the volume. In a small volume this shows late, and it decides about large ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Box, Grid, vector
from fgnet_pipeline.kernels.segment_rows import summed_by
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.charts import Axes, Line, lines
from fgnet_pipeline.views.report.html import Section, group, how, table
from fgnet_pipeline.views.report.result import Result
from fgnet_pipeline.views.report.sample import Sample

#: A segment with this share of all voxels in fragments has taken over.
TAKEN = 0.5
#: A threshold at which one segment takes over is near if it is not further below the chosen one.
NEAR = 0.1
#: If a box has at least eight times the voxels of another, the share of a neuron in it is clearly smaller. From this
#: share on it is worth a warning if it is not.
GROWING, FALLS = 0.2, 0.9
_STEPS = 101


@dataclass(frozen=True)
class Percolation:
    """Shares of the largest segment.

    Attributes:
        thresholds: float64 (n,), rising.
        shares: float64 (n,), share of all voxels in fragments that the largest segment takes at each.
        at_threshold: share at the chosen threshold.
        taken_at: highest threshold at which the share is at least `TAKEN`; None if there is none.
        boxes: per sub-volume its voxels, its share at the chosen threshold, and the id of its largest segment.
    """

    thresholds: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]
    at_threshold: float
    taken_at: float | None
    boxes: tuple[tuple[Box, float, int], ...]


def percolation_of(sample: Sample, grid: Grid, roi: Box) -> Percolation:
    """Follow the largest segment over thresholds and sub-volumes.

    Merges in canonical order have falling scores. So the largest cluster after the last merge of a score is the largest
    segment at this score.

    Args:
        sample: of the result.
        grid: of the blocks of fragments.
        roi: the region of interest.
    """
    total = int(sample.sizes.sum())
    (of_a, of_b), scores = sample.sizes_joined, sample.merge_scores
    largest = np.maximum.accumulate(np.concatenate([[sample.sizes.max(initial=0)], of_a + of_b]))
    thresholds = np.linspace(0, 1, _STEPS)
    done = np.searchsorted(-scores, -thresholds + 1e-12, side="right")
    taken = np.flatnonzero(largest[1:] >= TAKEN * total)
    boxes = tuple(_share_in(sample, i, grid, roi) for i in range(len(sample.boxes)))
    return Percolation(thresholds, largest[done] / total, boxes[-1][1],
                       float(scores[taken[0]]) if len(taken) else None, boxes)  # fmt: skip


def _share_in(sample: Sample, place: int, grid: Grid, roi: Box) -> tuple[Box, float, int]:
    """The voxels of a sub-volume, and the share and id of its largest segment."""
    inside = sample.shell <= place
    ids, voxels = summed_by(sample.segment_of(sample.ids[inside]), sample.voxels[inside])
    most = int(np.argmax(voxels)) if len(voxels) else 0
    blocks = sample.boxes[place]
    box = Box(grid.box(blocks.begin).begin, grid.box(vector(np.subtract(blocks.end, 1))).end).intersect(roi)
    return (box, float(voxels[most] / voxels.sum()), int(ids[most])) if len(voxels) else (box, 0.0, 0)


def warnings_of(found: Percolation, threshold: float) -> list[str]:
    """Sentences if one segment takes over, at the chosen threshold or near it, or seems to grow with the volume."""
    last, said = found.boxes[-1], []
    if found.at_threshold >= TAKEN:
        said.append(f"One segment has taken over: {last[2]} holds {numbers.share(found.at_threshold)} of all voxels in "
                    f"fragments at threshold {threshold:g}. Choose a higher threshold.")  # fmt: skip
    elif found.taken_at is not None and threshold - found.taken_at <= NEAR:
        said.append(f"One segment takes over near the chosen threshold: at {numbers.score(found.taken_at)} it holds "
                    f"{TAKEN:.0%} or more, at {threshold:g} still {numbers.share(found.at_threshold)}.")  # fmt: skip
    smaller = [box for box in found.boxes if 8 * box[0].size <= last[0].size]
    if smaller and found.at_threshold < TAKEN and last[1] >= max(GROWING, FALLS * smaller[-1][1]):
        said.append(f"The largest segment does not fall behind as the volume grows: {numbers.share(smaller[-1][1])} of "
                    f"{numbers.whole(smaller[-1][0].size)} voxels, {numbers.share(last[1])} of "
                    f"{numbers.whole(last[0].size)}. It may take over a larger volume.")  # fmt: skip
    return said


def percolation_section(result: Result, sample: Sample) -> Section:
    """Share of the largest segment over thresholds and over sub-volumes of growing size."""
    found = percolation_of(sample, result.tasks["fragments"].grid, result.roi)
    section = Section("percolation", "Percolation: does one segment take over?")
    section.warnings += warnings_of(found, result.threshold)
    marks = {result.threshold: f"chosen: {result.threshold:g}"}
    drawn = [lines(Axes("Share of the largest segment over thresholds", "threshold", "share", marks),
                   [Line("share", found.thresholds.tolist(), found.shares.tolist())])]  # fmt: skip
    if len(found.boxes) > 1:
        x = [float(np.log10(box.size)) for box, _, _ in found.boxes]
        axes = Axes(f"Share of the largest segment over sub-volumes, at threshold {result.threshold:g}",
                    "voxels of the sub-volume, power of ten", "share", {}, points=True)  # fmt: skip
        drawn.append(lines(axes, [Line("share", x, [share for _, share, _ in found.boxes])]))
    section.add(
        how(f"Left: the share of all voxels in fragments that the largest segment takes, at every threshold. "
            f"{sample.sentence()} The curve should be low and flat at and above the chosen threshold; the cliff is "
            "where one segment takes over."),
        how("Right: the same share in boxes that grow around the middle. A neuron fills less of a larger box, so the "
            "share should fall. If it stays, the segment grows with the volume."),
        group("charts", drawn),
    )  # fmt: skip
    taken = "at no threshold" if found.taken_at is None else f"at {numbers.score(found.taken_at)} and below"
    facts = [("share of the largest segment at the chosen threshold", numbers.share(found.at_threshold)),
             (f"one segment holds {TAKEN:.0%} or more", taken)]  # fmt: skip
    rows = [(" x ".join(map(str, box.shape)), numbers.whole(box.size), numbers.share(share), str(segment))
            for box, share, segment in found.boxes]  # fmt: skip
    return section.add(
        table("The largest segment", ("what", "value"), facts),
        table("Sub-volumes", ("shape", "voxels", "share", "largest segment"), rows),
    )
