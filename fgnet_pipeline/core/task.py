"""A task, which is one blockwise step of a plan, and one block of a task."""

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

    Attributes:
        name: unique, e.g. `"edges"` or `"agglomerate-1"`.
        stage: name of the stage that the task belongs to.
        grid: blocks that the task writes.
        below: voxels (zyx) that are read before the begin of a block.
        above: voxels (zyx) that are read after the end of a block.
        reads: box in voxels; every read region is clipped to it.
        upstream: names of the tasks whose output the task reads.
        fingerprint: JSON document of everything that determines the output, except region, mask and inputs.
        masked: whether the voxels of the mask change what a block holds. If not, a block depends only on whether it has
            any tissue.
        cheap: whether blocks of another fingerprint are simply computed again; otherwise they are an error.
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
        """The clipped read region of `block`, in voxels."""
        return self.reads_around(self.grid.box(block))

    def reads_around(self, whole: Box) -> Box:
        """The clipped read region of the block whose voxels are `whole`."""
        return whole.grow(self.below, self.above).intersect(self.reads)

    @property
    def level(self) -> int | None:
        """The octree level of a task that is named STAGE-LEVEL; None for all other tasks."""
        return None if self.name == self.stage else int(self.name.removeprefix(f"{self.stage}-"))

    @cached_property
    def fingerprint_hash(self) -> int:
        """64-bit hash of the fingerprint."""
        return hashing.of_document(dict(self.fingerprint))


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a task, with everything that follows from the plan. It is computed once per block.

    Attributes:
        index: position in the task's grid, zyx.
        whole: voxels of the grid's block; it may reach beyond the region of interest and the volume.
        read: the clipped read region in voxels.
        write: the voxels that the block writes, inside the region of interest.
        key: identity of the block, as its done record and its tables hold it.
        inputs: identity of the upstream blocks that the block reads, as its done record holds it.
    """

    index: Vector
    whole: Box
    read: Box
    write: Box
    key: str
    inputs: str
