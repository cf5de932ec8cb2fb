"""A row of the table of inputs: files, and what is right to read from them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lab_files.specimen import Rendered, Size, Truth, truth_of

#: Sizes and offset in nm, zyx, of most rows.
SIZE, OFFSET, ORIGIN = (40.0, 8.0, 4.0), (80.0, 24.0, 12.0), (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Row:
    """One input.

    Attributes:
        name: what is odd about it.
        rule: what fixes its meaning: a section of a specification, or the program that writes it.
        files: makes the files from the volume.
        voxel_size: right value in nm, zyx; None: the files state none.
        offset: right value in nm, zyx.
        refused: the files must be refused, with a sentence that matches this regular expression.
        dtype: of the voxels.
    """

    name: str
    rule: str
    files: Callable[[Truth], Rendered]
    voxel_size: Size | None = SIZE
    offset: Size = OFFSET
    refused: str = ""
    dtype: str = "uint8"

    @property
    def truth(self) -> Truth:
        """The volume; its voxels are the same in every run."""
        return Truth(truth_of(random.Random(self.name), self.dtype).voxels, self.voxel_size, self.offset)
