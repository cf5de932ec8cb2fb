"""Section of segment sizes: how many segments of which size there are, and the largest ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.kernels.segment_rows import by_segment, of_fragments, united
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.charts import bars
from fgnet_pipeline.views.report.html import Html, Section, group, how, paragraph, table
from fgnet_pipeline.views.report.result import Result
from fgnet_pipeline.views.report.sample import Counts, Ids, Sample

#: Rows of the table.
LISTED = 20


@dataclass(frozen=True)
class Sizes:
    """The segments of a sample, largest first; of equal ones the smaller id comes first.

    Attributes:
        ids: uint64 (n,).
        voxels: int64 (n,), inside the sample.
        fragments: int64 (n,), number of fragments inside the sample.
        points: int64 (n, 3), a voxel inside the largest fragment, zyx.
    """

    ids: Ids
    voxels: Counts
    fragments: Counts
    points: Counts


def sizes_of(sample: Sample) -> Sizes:
    """Sizes of all segments of a sample."""
    fragments = united({"id": sample.ids, "voxels": sample.voxels, "point": sample.points})
    rows = by_segment(of_fragments(sample.segment_of(fragments["id"]), fragments))
    order = np.lexsort((rows["segment"], -rows["voxels"]))
    return Sizes(*(rows[name][order] for name in ("segment", "voxels", "fragments", "point")))


def segments_section(result: Result, sample: Sample) -> Section:
    """Sizes of segments, and positions of the largest ones."""
    section, sizes = Section("segments", "Segments: sizes and the largest"), sizes_of(sample)
    total = int(sizes.voxels.sum())
    section.add(
        how(f"Segments at threshold {result.threshold:g}. {sample.sentence()} Shares are of all voxels in fragments."),
        paragraph(f"{numbers.whole(len(sizes.ids))} segments of {numbers.whole(len(np.unique(sample.ids)))} fragments, "
                  f"{numbers.whole(total)} voxels."),
        group("charts", _histograms(sizes.voxels)),
    )  # fmt: skip
    rows = [
        (str(sizes.ids[i]), numbers.whole(sizes.voxels[i]), numbers.share(sizes.voxels[i] / total),
         str(sizes.fragments[i]), numbers.voxel(sizes.points[i]), numbers.nm(result.nm(sizes.points[i])))
        for i in range(min(LISTED, len(sizes.ids)))
    ]  # fmt: skip
    columns = ("segment", "voxels", "share", "fragments", "a voxel inside", "in nm")
    return section.add(table("The largest segments", columns, rows))


def _histograms(voxels: npt.NDArray[np.int64]) -> list[Html]:
    """Number of segments, and share of all voxels, per power of ten of the size."""
    power = np.floor(np.log10(np.maximum(voxels, 1)) + 1e-9).astype(int)
    powers = range(int(power.max()) + 1)
    counts = [int((power == p).sum()) for p in powers]
    shares = [float(voxels[power == p].sum() / voxels.sum()) for p in powers]
    names = ["1 to 9", *(f"from 1e{p}" for p in powers[1:])]
    return [
        bars("Number of segments by size in voxels", names, counts, [numbers.whole(c) for c in counts]),
        bars("Share of all voxels by size of the segment", names, shares, [numbers.share(s) for s in shares]),
    ]
