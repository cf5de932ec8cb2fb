"""A task, which is one blockwise step of a plan, and one block of it as a stage computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fgnet_pipeline.core import hashing
from fgnet_pipeline.core.geometry import Box, Grid, Vector

NO_CONTEXT: Vector = (0, 0, 0)


@dataclass(frozen=True)
class Task:
    """One blockwise step.

    Args:
        name: unique, e.g. ``"edges"`` or ``"agglomerate-1"``.
        stage: the stage it belongs to; its scheduling options apply and ``--redo`` names it.
        grid: blocks that it writes.
        below, above: voxels read around a block.
        reads: reads are clipped to this box.
        upstream: names of the tasks whose output it reads.
        fingerprint: JSON document of everything but region, mask and inputs that determines its output.
        masked: whether the mask's content (not just its emptiness) changes what a block holds.
        cheap: a mismatch of the fingerprint is never an error, the blocks are just redone.
    """

    name: str
    stage: str
    grid: Grid
    below: Vector
    above: Vector
    reads: Box
    upstream: tuple[str, ...]
    fingerprint: Mapping[str, Any]
    masked: bool = False
    cheap: bool = False

    def read_box(self, block: Vector) -> Box:
        """The clipped read region of ``block`` in voxels."""
        return self.grid.box(block).grow(self.below, self.above).intersect(self.reads)

    @property
    def level(self) -> int | None:
        """The octree level, for tasks that are named STAGE-LEVEL; None for the others."""
        return None if self.name == self.stage else int(self.name.removeprefix(f"{self.stage}-"))

    @cached_property
    def fingerprint_hash(self) -> int:
        return hashing.of_document(dict(self.fingerprint))


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a task: everything about it that follows from the plan, computed once.

    Attributes:
        index: position in the task's grid, zyx.
        whole: voxels of the grid's block; it may reach beyond the region of interest and the volume.
        read: the clipped read region in voxels.
        write: the voxels that the block writes, inside the region of interest.
        key: identity of the block, as its done record and its tables hold it.
        inputs: identity of the upstream blocks that it reads, as its done record holds it.
    """

    index: Vector
    whole: Box
    read: Box
    write: Box
    key: str
    inputs: str
