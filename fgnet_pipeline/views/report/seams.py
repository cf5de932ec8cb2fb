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
from fgnet_pipeline.views.report.faces import FACES, Grids, Measured, faces_of, measure
from fgnet_pipeline.views.report.html import Section, how, lacking, paragraph, table
from fgnet_pipeline.views.report.rates import ERRORS, LEAST, MORE, RATE, Compared, Rate
from fgnet_pipeline.views.report.result import Result

#: A jump stands out if it exceeds the mean of the interior planes of its slab by this, and the largest of them by this
#: factor. It also exceeds one of the planes next to it by this factor: a membrane along the face is high on both sides.
JUMP, OVER_LARGEST = 0.02, 1.25
#: Rows of the table.
LISTED = 20
AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Place:
    """A face that stands out.

    Attributes:
        kind: `"jump"`, `"split"` or `"merge"`.
        grid: name of the grid whose blocks meet at the face.
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
    """Faces against the interior, for one grid and one axis.

    Attributes:
        grid: in words.
        axis: 0, 1, 2 for z, y, x.
        faces: number of faces that were measured.
        jump: mean absolute difference of affinities, at faces and at interior planes of the same slabs.
        split: share of facing voxels inside objects that are in two segments.
        merged: share of facing voxels that the affinities take apart that are in one segment.
    """

    grid: str
    axis: int
    faces: int
    jump: tuple[float, float]
    split: Compared
    merged: Compared

    def rates(self) -> tuple[tuple[str, Compared], ...]:
        """Kind -> rate."""
        return (("split", self.split), ("merge", self.merged))


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
    grids = grids_of(result)
    where = Grids(result, states, list(grids.values()))
    rates: list[AxisRates] = []
    places: list[Place] = []
    for words, grid in grids.items():
        for axis in range(3):
            faces: list[Measured] = []
            inside: list[Measured] = []
            for face, planes in faces_of(where, grid, axis):
                faces += [found for found in [measure(where, face)] if found is not None]
                inside += [found for found in (measure(where, plane) for plane in planes) if found is not None]
            if faces:
                rates.append(_rates(words, axis, faces, inside))
                places += _places(rates[-1], faces)
    kinds = ("jump", "split", "merge")
    return Seams(tuple(rates), tuple(sorted(places, key=lambda p: (kinds.index(p.kind), p.interior - p.value))))


def _rates(grid: str, axis: int, faces: list[Measured], inside: list[Measured]) -> AxisRates:
    jumps = [found.jump[found.interior].mean() for found in faces if found.interior.any()]
    jump = float(np.mean([found.jump[found.at] for found in faces])), float(np.mean(jumps)) if jumps else float("nan")

    def rate(of: str, hits: str) -> Compared:
        face, half = (
            Rate(*(np.array([getattr(one, name)[one.at] for one in found], np.int64) for name in (hits, of)))
            for found in (faces, inside)
        )
        return Compared(face, half)

    return AxisRates(grid, axis, len(faces), jump, rate("inside", "split"), rate("apart", "merged"))


def _places(rates: AxisRates, faces: list[Measured]) -> list[Place]:
    found = []
    for one in faces:
        at, inner = one.at, one.jump[one.interior]
        face = float(one.jump[at])
        beside = min(float(one.jump[at - 1]), float(one.jump[at + 1]))
        highest = max(beside, float(inner.max(initial=0)))
        if len(inner) and face - inner.mean() >= JUMP and face >= OVER_LARGEST * highest:
            found.append(Place("jump", rates.grid, rates.axis, face, float(inner.mean()), 0, one.jump_at))
        for kind, of, hits, rate, position in (
            ("split", one.inside[at], one.split[at], rates.split, one.split_at),
            ("merge", one.apart[at], one.merged[at], rates.merged, one.merged_at),
        ):
            if rate.is_outside(int(hits), int(of)):
                inside = rate.inside.value
                found.append(Place(kind, rates.grid, rates.axis, hits / of, inside, int(hits), position))
    return found


def seams_section(result: Result) -> Section:
    """Faces against the interior per axis, and the worst places."""
    section, seams = Section("seams", "Seams: do blocks show?"), find_seams(result)
    section.add(
        how("A plane between two layers of voxels is a face between two blocks, or lies inside one. Each face is "
            f"measured in a slab with interior planes on both sides; at most {FACES} faces per axis, spread evenly."),
        how("Affinity jump: the mean absolute difference of the affinities of two voxels that face each other across "
            "the plane. Split rate: of facing voxels that lie inside an object (the affinities one voxel before and "
            "one behind the plane are at least 0.5), the share that is in two segments. Merge rate: of facing voxels "
            "whose affinity across the plane is below 0.5, the share that is in one segment. Membranes are several "
            "voxels thick and belong to the segments beside them, so this rate is high everywhere: only its difference "
            "says something."),
        how("Both rates are compared with those of parallel planes in the middle of the blocks. A difference is there "
            "if its interval, at 95 % confidence, does not hold 0; the planes are the observations."),
    )  # fmt: skip
    if not seams.rates:
        return section.add(lacking(["no face between two finished blocks lies in the region"]))
    rows = [(r.grid, AXES[r.axis], str(r.faces), *(_shown(v, numbers.score) for v in r.jump)) for r in seams.rates]
    section.add(table("Jumps of affinities", ("blocks of", "axis", "faces", "at faces", "inside"), rows))
    compared = [(kind, r.grid, AXES[r.axis], *_compared(rate)) for r in seams.rates for kind, rate in r.rates()]
    columns = ("what", "blocks of", "axis", "at faces", "half a block away", "difference", "says")
    section.add(table("Splits and mergers, in facing voxels", columns, compared))
    section.warnings += _differences(seams)
    if not seams.places:
        return section.add(paragraph("No face that was measured stands out."))
    section.warnings.append(_warning(seams))
    listed = [
        (p.kind, p.grid, AXES[p.axis], f"{p.value:.4f}", _shown(p.interior, "{:.4f}".format), str(p.voxels or "-"),
         numbers.voxel(p.position), numbers.nm(result.nm(p.position)))
        for kind in ("jump", "split", "merge") for p in [q for q in seams.places if q.kind == kind][:LISTED]
    ]  # fmt: skip
    section.add(
        how(f"A jump stands out if it exceeds the mean of the interior planes of its slab by {JUMP:g} and the largest "
            f"of them, and one of the planes next to it, by a factor of {OVER_LARGEST:g}. A rate stands out if it "
            f"exceeds that of the planes half a block away by {RATE:.0%} and by {ERRORS} standard errors, and every "
            f"single one of these planes, with at least {LEAST} voxels."),
        table("The worst places", ("what", "blocks of", "axis", "at the face", "inside", "voxels", "position", "in nm"),
              listed),
    )  # fmt: skip
    return section


def _warning(seams: Seams) -> str:
    counts = [(kind, sum(place.kind == kind for place in seams.places)) for kind in ("jump", "split", "merge")]
    said = ", ".join(f"{count} by {kind}" for kind, count in counts if count)
    return f"Block faces stand out from the interior: {said}. See the section on seams."


def _differences(seams: Seams) -> list[str]:
    """A sentence about axes with more splits or mergers at faces than inside blocks."""
    found = [
        f"{kind}s along {AXES[r.axis]} ({numbers.share(rate.face.value)}, against {numbers.share(rate.inside.value)} "
        "half a block away)"
        for r in seams.rates for kind, rate in r.rates()
        if rate.verdict() == MORE and rate.face.hits.sum() >= LEAST
    ]  # fmt: skip
    return [f"Block faces have more {', '.join(found)}."] if found else []


def _compared(rate: Compared) -> tuple[str, str, str, str]:
    """The cells of both rates, of their difference and of what it says."""
    cells = [
        "-" if np.isnan(r.value) else f"{numbers.share(r.value)} ({numbers.whole(r.hits.sum())} of "
                                      f"{numbers.whole(r.of.sum())})"
        for r in (rate.face, rate.inside)
    ]  # fmt: skip
    interval = rate.interval()
    difference = "-" if interval is None else " to ".join(f"{100 * bound:+.3g}%" for bound in interval)
    return cells[0], cells[1], difference, rate.verdict()


def _shown(value: float, text: Callable[[float], str]) -> str:
    return "-" if np.isnan(value) else text(value)
