"""Section of seams: whether results change at the faces of blocks.

Blocks are a division of work. If affinities jump, or if segments are split or merged more often at their faces than
inside them, the division shows in the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fgnet_pipeline.core.geometry import Grid
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.faces import FACES, Measured, faces_of, measure
from fgnet_pipeline.views.report.html import Section, how, lacking, paragraph, table
from fgnet_pipeline.views.report.result import Result

#: A jump stands out if it exceeds the mean of the interior planes of its slab by this, and the largest of them by this
#: factor.
JUMP, OVER_LARGEST = 0.02, 1.25
#: A rate stands out if it exceeds that of the interior by this, and by three standard errors. Facing voxels beside each
#: other say nearly the same, so that this many count as one observation.
RATE, CORRELATED = 0.01, 16
#: Fewer split or merged voxels are no place to look at.
LEAST = 32
#: Rows of the table.
LISTED = 20
AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Place:
    """A face that stands out.

    Attributes:
        kind: `"jump"`, `"split"` or `"merge"`.
        grid: whose blocks meet there, in words.
        axis: perpendicular to the face: 0, 1, 2 for z, y, x.
        value: of the face.
        interior: that it is compared with.
        voxels: number of facing voxels that are split or merged; 0 for a jump.
        position: in voxels, zyx.
    """

    kind: str
    grid: str
    axis: int
    value: float
    interior: float
    voxels: int
    position: tuple[float, float, float]


@dataclass(frozen=True)
class AxisRates:
    """Faces against the interior, for one grid and one axis; values are (face, interior), NaN if nothing was counted.

    Attributes:
        grid: in words.
        axis: 0, 1, 2 for z, y, x.
        faces: number of faces that were measured.
        jump: mean absolute difference of affinities.
        split: share of facing voxels inside objects that are in two segments.
        merged: share of facing voxels that the affinities take apart that are in one segment.
    """

    grid: str
    axis: int
    faces: int
    jump: tuple[float, float]
    split: tuple[float, float]
    merged: tuple[float, float]


@dataclass(frozen=True)
class Seams:
    """All that was measured: per grid and axis, and the places that stand out, the worst first."""

    rates: tuple[AxisRates, ...]
    places: tuple[Place, ...]


def grids_of(result: Result) -> dict[str, Grid]:
    """Words -> grid, of all block grids on which affinities or fragments may depend."""
    found: dict[Grid, list[str]] = {}
    for name in ("predict", "fragments"):
        if name in result.tasks:
            found.setdefault(result.tasks[name].grid, []).append(name)
    return {" and ".join(names): grid for grid, names in found.items()}


def find_seams(result: Result) -> Seams:
    """Measure a sample of all faces."""
    states = [result.tasks[name] for name in ("predict", "relabel") if name in result.tasks]
    rates: list[AxisRates] = []
    places: list[Place] = []
    for words, grid in grids_of(result).items():
        for axis in range(3):
            faces = faces_of(result, states, grid, axis)
            measured = [found for face in faces if (found := measure(result, face)) is not None]
            if measured:
                rates.append(_rates(words, axis, measured))
                places += _places(rates[-1], measured)
    kinds = ("jump", "split", "merge")
    return Seams(tuple(rates), tuple(sorted(places, key=lambda p: (kinds.index(p.kind), p.interior - p.value))))


def _rates(grid: str, axis: int, measured: list[Measured]) -> AxisRates:
    faces = [found.planes == 0 for found in measured]
    inner = [found.interior for found in measured]
    jump = [float(np.mean([found.jump[planes].mean() for found, planes in zip(measured, chosen, strict=True)]))
            for chosen in (faces, inner)]  # fmt: skip

    def rate(of: str, part: str) -> tuple[float, float]:
        shares = []
        for chosen in (faces, inner):
            all_of = sum(int(getattr(found, of)[planes].sum()) for found, planes in zip(measured, chosen, strict=True))
            hits = sum(int(getattr(found, part)[planes].sum()) for found, planes in zip(measured, chosen, strict=True))
            shares.append(hits / all_of if all_of else float("nan"))
        return shares[0], shares[1]

    return AxisRates(grid, axis, len(measured), (jump[0], jump[1]), rate("inside", "split"), rate("apart", "merged"))


def _places(rates: AxisRates, measured: list[Measured]) -> list[Place]:
    found = []
    for one in measured:
        at = int(np.flatnonzero(one.planes == 0)[0])
        inner = one.jump[one.interior]
        mean, face = float(inner.mean()), float(one.jump[at])
        if face - mean >= JUMP and face >= OVER_LARGEST * float(inner.max()):
            found.append(Place("jump", rates.grid, rates.axis, face, mean, 0, one.jump_at))
        for kind, of, hits, rate, position in (
            ("split", one.inside[at], one.split[at], rates.split[1], one.split_at),
            ("merge", one.apart[at], one.merged[at], rates.merged[1], one.merged_at),
        ):
            if _stands_out(int(hits), int(of), rate):
                found.append(Place(kind, rates.grid, rates.axis, hits / of, rate, int(hits), position))
    return found


def _stands_out(hits: int, of: int, rate: float) -> bool:
    """Whether so many hits are clearly more than the rate of the interior; NaN counts as 0."""
    if hits < LEAST:
        return False
    rate = 0.0 if np.isnan(rate) else rate
    error = np.sqrt(rate * (1 - rate) * CORRELATED / of)
    return bool(hits / of - rate >= max(RATE, 3 * error))


def seams_section(result: Result) -> Section:
    """Faces against the interior per axis, and the worst places."""
    section, seams = Section("seams", "Seams: do blocks show?"), find_seams(result)
    section.add(
        how("A plane between two layers of voxels is a face between two blocks, or lies inside one. Each face is "
            f"measured in a slab with interior planes on both sides; at most {FACES} faces per axis, spread evenly."),
        how("Affinity jump: the mean absolute difference of the affinities of two voxels that face each other across "
            "the plane. Split rate: of facing voxels that lie inside an object (the affinities one voxel before and "
            "one behind the plane are at least 0.5), the share that is in two segments. Merge rate: of facing voxels "
            "whose affinity across the plane is below 0.5, the share that is in one segment."),
    )  # fmt: skip
    if not seams.rates:
        return section.add(lacking(["no face between two finished blocks lies in the region"]))
    rows = [(r.grid, AXES[r.axis], str(r.faces), *_pair(r.jump, numbers.score), *_pair(r.split, numbers.share),
             *_pair(r.merged, numbers.share)) for r in seams.rates]  # fmt: skip
    columns = ("blocks of", "axis", "faces", "jump at faces", "jump inside", "splits at faces", "splits inside",
               "merges at faces", "merges inside")  # fmt: skip
    section.add(table("Faces of blocks against their interior", columns, rows))
    if not seams.places:
        return section.add(paragraph("No face that was measured stands out."))
    section.warnings.append(_warning(seams))
    listed = [
        (p.kind, p.grid, AXES[p.axis], f"{p.value:.4f}", f"{p.interior:.4f}", str(p.voxels or "-"),
         numbers.voxel(p.position), numbers.nm(result.nm(p.position)))
        for kind in ("jump", "split", "merge") for p in [q for q in seams.places if q.kind == kind][:LISTED]
    ]  # fmt: skip
    section.add(
        how(f"A jump stands out if it exceeds the mean of the interior planes of its slab by {JUMP:g} and the "
            f"largest of them by a factor of {OVER_LARGEST:g}. A rate stands out if it exceeds that of the "
            f"interior by {RATE:.0%} and by three standard errors, with at least {LEAST} voxels."),
        table("The worst places", ("what", "blocks of", "axis", "at the face", "inside", "voxels", "position", "in nm"),
              listed),
    )  # fmt: skip
    return section


def _warning(seams: Seams) -> str:
    counts = [(kind, sum(place.kind == kind for place in seams.places)) for kind in ("jump", "split", "merge")]
    said = ", ".join(f"{count} by {kind}" for kind, count in counts if count)
    return f"Block faces stand out from the interior: {said}. See the section on seams."


def _pair(values: tuple[float, float], shown: Callable[[float], str]) -> list[str]:
    return ["-" if np.isnan(v) else shown(v) for v in values]
