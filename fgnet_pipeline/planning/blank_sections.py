"""Finds sections of one exact value: lost sections, and sections before the first or after the last of the tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgnet_pipeline.core.geometry import Box, Vector, vector, whole
from fgnet_pipeline.store.arrays import readable
from fgnet_pipeline.store.volume import Volume

#: Voxels of a patch along y and x; and the places of the patches, as shares of y and x.
PATCH = 32
PLACES = (0.25, 0.5, 0.75)
#: Slabs of sections that are looked at, at most and at least; voxels that may be decoded for them.
MOST_SLABS, LEAST_SLABS, DECODED = 64, 4, 1 << 28


@dataclass(frozen=True)
class BlankSections:
    """Sections of one value at all places that were looked at.

    Attributes:
        looked_at: number of sections.
        sections: those of one value, rising. Empty if all of them are, since then padding is all that was seen.
    """

    looked_at: int
    sections: tuple[int, ...]

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The same as [first, last] of neighbouring sections."""
        found: list[tuple[int, int]] = []
        for z in self.sections:
            if found and found[-1][1] == z - 1:
                found[-1] = (found[-1][0], z)
            else:
                found.append((z, z))
        return found


def blank_sections(volume: Volume) -> BlankSections:
    """Look at three patches of each section; of a long volume, of some slabs of sections that are spread evenly.

    Raises:
        InputError: chunks cannot be read.
    """
    depth, height, width = volume.shape
    order = volume.order
    chunk = [volume.array.chunks[axis] for axis in order]
    slabs = range(-(-depth // chunk[0]))
    allowed = max(LEAST_SLABS, min(MOST_SLABS, DECODED // (len(PLACES) * int(np.prod(chunk)))))
    if len(slabs) > allowed:
        chosen = sorted({round(i * (len(slabs) - 1) / (allowed - 1)) for i in range(allowed)})
    else:
        chosen = list(slabs)
    looked_at, blank = 0, []
    for slab in chosen:
        begin, end = slab * chunk[0], min((slab + 1) * chunk[0], depth)
        flat = np.ones(end - begin, bool)
        for place in PLACES:
            if flat.any():
                flat &= _is_flat(volume, (begin, round(place * height), round(place * width)), end - begin)
        looked_at += end - begin
        blank += (begin + np.flatnonzero(flat)).tolist()
    return BlankSections(looked_at, () if len(blank) == looked_at else tuple(blank))


def _is_flat(volume: Volume, middle: Vector, sections: int) -> np.ndarray:
    """Whether a patch around a place has one value, bool (sections,)."""
    begin = vector(np.subtract(middle, (0, PATCH // 2, PATCH // 2)))
    box = Box(begin, vector(np.add(begin, (sections, PATCH, PATCH)))).intersect(whole(volume.shape))
    with readable(volume.path, volume.field):
        values = volume.read(box)
    return np.asarray(values.max(axis=(1, 2)) == values.min(axis=(1, 2)))
