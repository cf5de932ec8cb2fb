"""A result as it lies in its output: what is done, and reading it without an end at the first damage.

A report describes the configuration and the output as they are. So a block counts as done if its latest record has the
key that the plan gives it now. If an input cannot be opened any more there is no plan; then the latest records decide
alone, and the report says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import DamageError, PipelineError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.core.plan import format_key
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import Octree, octree_of
from fgnet_pipeline.store.arrays import READ_ERRORS, OutputArray
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.records.latest import Totals
from fgnet_pipeline.store.tables import Columns
from fgnet_pipeline.store.volume import Frame, Volume
from fgnet_pipeline.views.layers import STAGE_OF


@dataclass(frozen=True)
class TaskState:
    """The state of one task, according to its records.

    Attributes:
        name: of the task.
        stage: that it belongs to.
        grid: of its blocks.
        blocks: index box of its blocks.
        keys: uint64 (z, y, x) of the index box; the key of the block's latest record if it is done, else 0.
        nonzero: bool (z, y, x); whether the block wrote a voxel other than 0, or a row.
        active: number of blocks that have work; None if no plan could be made.
        stale: number of blocks whose records are of other settings or inputs.
        failed: number of blocks that failed last.
        totals: sums over the records.
    """

    name: str
    stage: str
    grid: Grid
    blocks: Box
    keys: npt.NDArray[np.uint64]
    nonzero: npt.NDArray[np.bool_]
    active: int | None
    stale: int
    failed: int
    totals: Totals

    @property
    def done(self) -> int:
        """Number of blocks that are done."""
        return int((self.keys != 0).sum())

    @property
    def is_finished(self) -> bool:
        """Whether no block is missing, as far as is known."""
        return self.done > 0 if self.active is None else self.done == self.active

    def is_done(self, block: Vector) -> bool:
        """Whether a block is in the index box and done."""
        at = np.subtract(block, self.blocks.begin)
        return bool((at >= 0).all() and (at < self.keys.shape).all() and self.keys[tuple(at)])

    def key(self, block: Vector) -> str:
        """The key of a block that is done."""
        return format_key(int(self.keys[tuple(np.subtract(block, self.blocks.begin))]))

    def sentence(self) -> str:
        """The progress of the task, e.g. `"predict: 40 of 48 blocks done, 2 failed"`."""
        of = "" if self.active is None else f" of {self.active}"
        parts = [f"{self.done}{of} blocks done"]
        parts += [f"{self.stale} made with other settings or inputs"] if self.stale else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return f"{self.name}: {', '.join(parts)}"


@dataclass
class Result:
    """An output, opened for a report. Nothing is written.

    Attributes:
        config: with values for all keys, if they are known.
        output: the output.
        job: the job with its plan; None if an input cannot be opened.
        frame: voxel size and offset; None if nothing states them.
        bounds: the whole volume in voxels; empty if it is unknown.
        roi: the region of interest in voxels; empty if it is unknown.
        tasks: name -> state, in the order of the data flow.
        notes: what could not be opened or read, in sentences.
        raw: the raw volume; None if it cannot be opened.
    """

    config: Config
    output: Output
    job: Job | None
    frame: Frame | None
    bounds: Box
    roi: Box
    tasks: dict[str, TaskState] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    raw: Volume | None = None
    _arrays: dict[str, OutputArray | None] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """The threshold of the agglomeration."""
        return self.config.agglomerate.threshold

    def octree(self) -> Octree | None:
        """The octree of the agglomeration; None if it is unknown."""
        if self.job is not None:
            return octree_of(self.job)
        made = self.output.progress.fingerprint("agglomerate-0")
        if made is None:
            return None
        levels = sum(name.startswith("agglomerate-") for name in self.tasks)
        packed = self.config.fragments.path is None
        return Octree(vector(made["leaf"]), levels, Grid(vector(made["blocks"])), packed)

    def missing(self, tasks: Iterable[str]) -> list[str]:
        """Sentences about those of some tasks that are not finished."""
        found = []
        for name in tasks:
            state = self.tasks.get(name)
            if state is None:
                found.append(f"{name}: nothing recorded")
            elif not state.is_finished:
                found.append(state.sentence())
        return found

    def agglomeration(self) -> list[str]:
        """Names of the tasks of the agglomeration, leaves first."""
        return [name for name, state in self.tasks.items() if state.stage == "agglomerate"]

    def table(self, task: str, kind: str, block: Vector, columns: list[str]) -> Columns | None:
        """Columns of the table that a block wrote; None, and a note, if the block is not done or the table is damaged.

        Args:
            task: that wrote it.
            kind: of the table.
            block: index of the block.
            columns: names.
        """
        state = self.tasks.get(task)
        if state is None or not state.is_done(block):
            return None
        try:
            return self.output.tables(kind, state.stage).read(block, columns, state.key(block))
        except DamageError as error:
            self.note(str(error))
            return None

    def read(self, name: str, box: Box) -> npt.NDArray[Any] | None:
        """Voxels of raw, affinities, fragments or segmentation; None, and a note, if there are none.

        Voxels of blocks that are not done are 0.

        Args:
            name: of the array.
            box: voxels, inside the volume.
        """
        try:
            if name == "raw":
                return None if self.raw is None else self.raw.read(box)
            if name == "affinities" and self.config.affinities.path is not None:
                return None if self.job is None else self.job.read_affinities(box)
            if name == "fragments" and self.config.fragments.path is not None:
                return None if self.job is None else self.job.read_fragments(box)
            return self._read_own(name, box)
        except (*READ_ERRORS, PipelineError) as error:
            self.note(f"{name}: voxels {box.to_list()} cannot be read ({_first_line(error)})")
            return None

    def _read_own(self, name: str, box: Box) -> npt.NDArray[Any] | None:
        """Voxels of an array of the output, 0 in blocks that are not done."""
        state, array = self.tasks.get(STAGE_OF[name]), self._array(name)
        if state is None or array is None or not state.done:
            return None
        data = array.read(box)
        for index in indices(state.grid.covering(box)):
            if not state.is_done(index):
                data[(..., *state.grid.box(index).intersect(box).slices(box.begin))] = 0
        return data

    def _array(self, name: str) -> OutputArray | None:
        if name not in self._arrays:
            try:
                self._arrays[name] = self.output.array(name)
            except PipelineError as error:
                self._arrays[name] = None
                self.note(str(error))
        return self._arrays[name]

    def note(self, sentence: str) -> None:
        """Keep a sentence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def nm(self, voxel: npt.ArrayLike) -> list[float] | None:
        """The middle of a voxel in nm, zyx; None if no voxel size is known.

        Args:
            voxel: position in voxels, zyx; a whole number is the middle of the voxel of that index.
        """
        if self.frame is None:
            return None
        middle = np.asarray(voxel, np.float64) + 0.5
        return [float(v) for v in np.asarray(self.frame.offset) + middle * np.asarray(self.frame.voxel_size)]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
