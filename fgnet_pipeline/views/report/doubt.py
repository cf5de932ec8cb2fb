"""Section of doubt: the merges and non-merges nearest to the threshold, weighted by size, as a proofreader's queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fgnet_pipeline.core.csv_text import csv_text
from fgnet_pipeline.kernels.agglomeration.merge_tree import cut
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.contacts import Contacts, ContactsOfMerges, ContactsOfSegments, edge_tables
from fgnet_pipeline.views.report.html import Html, Section, how, paragraph, table
from fgnet_pipeline.views.report.result import Result
from fgnet_pipeline.views.report.sample import Sample

#: A decision whose score is further away from the threshold is in no doubt.
BAND = 0.1
#: Rows on the page, and in the file.
LISTED, QUEUED = 30, 1000
_FIELDS = (
    "rank", "kind", "doubt", "score", "threshold", "distance", "faces", "a", "b", "voxels_a", "voxels_b",
    "z", "y", "x", "z_nm", "y_nm", "x_nm",
)  # fmt: skip
#: First line of the file.
QUEUE_HEADER = ",".join(f'"{name}"' for name in _FIELDS)
MERGE, NO_MERGE = "merge", "no merge"


@dataclass(frozen=True)
class Decision:
    """A merge that was done, or one that was not.

    Attributes:
        kind: `MERGE` or `NO_MERGE`.
        doubt: voxels of the smaller side, times 1 at the threshold, falling to 0 at `BAND` from it.
        score: that was compared with the threshold.
        distance: between both.
        faces: of the contact.
        a: of a merge, the fragment that names one side; else a segment.
        b: the same of the other side.
        voxels: of both sides.
        position: centre of the contact in voxels, zyx.
    """

    kind: str
    doubt: float
    score: float
    distance: float
    faces: int
    a: int
    b: int
    voxels: tuple[int, int]
    position: tuple[float, float, float]


def doubtful(result: Result, sample: Sample, most: int = QUEUED) -> list[Decision]:
    """The decisions in doubt, the most doubtful first.

    Args:
        result: the result.
        sample: of it.
        most: number of decisions at most.
    """
    rows, found = _merges_near(result, sample, most)
    of_merges, of_segments = ContactsOfMerges(sample, rows), ContactsOfSegments(result, sample)
    for edges in edge_tables(result, sample):
        of_merges.add(edges)
        of_segments.add(edges)
    placed = []
    for decision, position in zip(found, of_merges.positions().tolist(), strict=True):
        if not np.isnan(position).any():
            placed.append(Decision(**{**vars(decision), "position": tuple(position)}))
    placed += _not_merged(result, sample, of_segments.contacts(), most)
    return sorted(placed, key=lambda d: (-d.doubt, d.a, d.b))[:most]


def _merges_near(result: Result, sample: Sample, most: int) -> tuple[np.ndarray, list[Decision]]:
    """The merges nearest to the threshold: places in the tree, rising, and decisions without a position."""
    merges, threshold = sample.merges, result.threshold
    (of_a, of_b), score = sample.sizes_joined, sample.merge_scores
    done = cut(merges.a, merges.b, merges.sum, merges.count, threshold)
    doubt = np.where(done, _doubt(np.minimum(of_a, of_b), score - threshold), 0)
    rows = np.argsort(-doubt, kind="stable")[:most]
    rows = np.sort(rows[doubt[rows] > 0])
    found = [
        Decision(MERGE, float(doubt[i]), float(score[i]), float(score[i] - threshold), int(merges.count[i]),
                 int(merges.a[i]), int(merges.b[i]), (int(of_a[i]), int(of_b[i])), (0.0, 0.0, 0.0))
        for i in rows
    ]  # fmt: skip
    return rows, found


def _not_merged(result: Result, sample: Sample, contacts: Contacts, most: int) -> list[Decision]:
    """The contacts of two segments whose scores are below the threshold, but near it."""
    ids, voxels = sample.segment_sizes
    one, other = (voxels[np.searchsorted(ids, ends)] for ends in (contacts.one, contacts.other))
    distance = result.threshold - contacts.score
    # A contact that the sample cuts off may have a score above the threshold. It says nothing.
    doubt = np.where(distance > 0, _doubt(np.minimum(one, other), distance), 0)
    chosen = np.argsort(-doubt, kind="stable")[:most]
    return [
        Decision(NO_MERGE, float(doubt[i]), float(contacts.score[i]), float(distance[i]), int(contacts.count[i]),
                 int(contacts.one[i]), int(contacts.other[i]), (int(one[i]), int(other[i])),
                 tuple(contacts.position[i].tolist()))
        for i in chosen if doubt[i] > 0
    ]  # fmt: skip


def _doubt(smaller: np.ndarray, distance: np.ndarray) -> np.ndarray:
    return np.asarray(smaller * np.clip(1 - np.abs(distance) / BAND, 0, 1))


def queue_text(result: Result, decisions: list[Decision]) -> str:
    """The queue as CSV. Ids are text, since many programs round numbers above 2^53."""
    rows = list[list[Any]]()
    for rank, d in enumerate(decisions, 1):
        world = result.nm(d.position)
        rows.append([rank, d.kind, round(d.doubt, 1), round(d.score, 6), result.threshold, round(d.distance, 6),
                         d.faces, str(d.a), str(d.b), *d.voxels, *(round(v, 1) for v in d.position),
                         *(("", "", "") if world is None else [round(v, 1) for v in world])])  # fmt: skip
    return csv_text(_FIELDS, rows)


def doubt_section(result: Result, sample: Sample, decisions: list[Decision], link: str) -> Section:
    """The head of the queue, and how it is ordered.

    Args:
        result: the result.
        sample: of it.
        decisions: all, in order.
        link: name of the file beside the page.
    """
    section = Section("doubt", "Doubt: what to proofread first")
    section.add(
        how("Merges that were done and contacts of two segments that were not merged, with scores at most "
            f"{BAND:g} from the threshold {result.threshold:g}. {sample.sentence()} Doubt is the number of voxels of "
            f"the smaller side, times 1 at the threshold and falling to 0 at a distance of {BAND:g}: what a wrong "
            "decision moves, times how near the decision was. The position is the centre of the contact."),
        how("Of a merge, a and b are the fragments that name its two sides; both are in one segment. Of a contact that "
            "was not merged, a and b are the two segments."),
    )  # fmt: skip
    if not decisions:
        return section.add(paragraph("No decision is in doubt."))
    rows = [
        (str(rank), d.kind, numbers.whole(d.doubt), numbers.score(d.score), str(d.faces), str(d.a), str(d.b),
         numbers.whole(d.voxels[0]), numbers.whole(d.voxels[1]), numbers.voxel(d.position),
         numbers.nm(result.nm(d.position)))
        for rank, d in enumerate(decisions[:LISTED], 1)
    ]  # fmt: skip
    columns = ("rank", "decision", "doubt", "score", "faces", "a", "b", "voxels a", "voxels b", "position", "in nm")
    file = Html(f'<p>{len(decisions)} decisions are in <a href="{link}">{link}</a>, beside this page.</p>')
    return section.add(file, table(f"The {len(rows)} most doubtful decisions", columns, rows))
