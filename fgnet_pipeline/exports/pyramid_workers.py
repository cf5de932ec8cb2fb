"""The objects that write blocks of pyramids: one level from the level below it, or level 0 from the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Grid, indices, vector
from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import Numbering
from fgnet_pipeline.kernels.downsample import by_mean, by_mode, cells_of
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.store.pyramid_arrays import LevelStore
from fgnet_pipeline.store.stored_shards import Contents, StoredShards

if TYPE_CHECKING:
    from fgnet_pipeline.exports.pyramid import PyramidStage

Voxels = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]


class LevelArray(Protocol):
    """A level of a pyramid in the target. Boxes are in voxels of the level."""

    def read(self, box: Box) -> Voxels:
        """The voxels (z, y, x) or (C, z, y, x) of `box`; 0 outside of the blocks that were written."""

    def write(self, block: Box, written: Box, data: Voxels) -> list[Path]:
        """Write `data` at `written` and zeros elsewhere in `block`; returns the files to flush to disk."""

    def lost(self, grid: Grid, blocks: Box, nonzero: Flags) -> Flags:
        """Which blocks should have a file, but have none.

        Args:
            grid: of the blocks, in voxels of the level.
            blocks: index box, zyx.
            nonzero: of its shape, whether a block has a voxel that is not 0.
        """

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the voxels."""


class PyramidWorker:
    """Writes blocks of one level.

    Args:
        job: the export.
        stage: of the array.
        task: of the level.
    """

    def __init__(self, job: ExportJob, stage: PyramidStage, task: Task) -> None:
        self.job, self.array, self.task = job, stage.exported, task
        levels, number = stage.levels(job), task.level or 0
        self.level, self.target = levels[number], stage.open_level(job, levels[number])
        self.below = stage.open_level(job, levels[number - 1]) if number else None
        self.grid = Grid(stage.block_shape(job))
        is_numbered = number == 0 and job.options.compact_ids and self.array.kind is not None
        self.numbering = Numbering(job, self.array.kind) if is_numbered and self.array.kind else None
        self.keys = job.output.tables(stage.tables[0].kind_of(task), stage.name) if number else None

    def load(self, block: Block) -> Voxels:
        """The voxels (z, y, x) or (C, z, y, x) of a block, inside the region of interest.

        Blocks of the level below are read and halved one at a time, so memory holds only one of them.
        """
        if self.below is None:
            return self.array.read(self.job.source, block.write)
        cells, step = self.level.cells(block.write), self.level.step
        inside = cells_of(block.write, vector(np.floor_divide(self.level.factor, step)))
        channels = self.array.channels(self.job.source)
        result: Voxels | None = None
        whole = self.grid.box(block.index)
        children = Box(vector(np.multiply(whole.begin, step)), vector(np.multiply(whole.end, step)))
        for index in indices(self.grid.covering(children)):
            part = self.grid.box(index).intersect(inside)
            if not part:
                continue
            halved = self._halved(part)
            if result is None:
                result = np.zeros(channels + cells.shape, halved.dtype)
            result[(..., *cells_of(part, step).slices(cells.begin))] = halved
        assert result is not None  # a block of the plan has voxels
        return result

    def _halved(self, box: Box) -> Voxels:
        """The voxels of this level whose children lie in `box`, which is in voxels of the level below."""
        assert self.below is not None
        children = self.below.read(box)
        reduce = by_mode if self.array.is_label else by_mean
        return reduce(children, box.begin, self.level.step)

    def compute(self, block: Block, loaded: Voxels) -> Voxels:
        """The voxels as they are stored: with compact ids, if these were asked for.

        Raises:
            DamageError: there are more ids than the type of the array can number.
        """
        if self.numbering is None:
            return loaded
        dtype = self.target.dtype
        if self.numbering.count > np.iinfo(dtype).max:
            raise DamageError(f"{self.numbering.count} ids do not fit {dtype}: delete the export, and begin it again")
        return self.numbering.compact(loaded).astype(dtype)

    def store(self, block: Block, computed: Voxels) -> Outcome:
        """Write the block and, above level 0, its key."""
        files = self.target.write(self.grid.box(block.index), self.level.cells(block.write), computed)
        if self.keys is not None:
            columns = {"nonzero": np.asarray([np.count_nonzero(computed)], np.int64)}
            files = [*files, self.keys.write(block.index, columns, block.key)]
        return outcome_of_array(computed, files)


class ShardCopier(PyramidWorker):
    """Writes blocks of level 0 whose shards are stored in the result as they would be in the target.

    Every chunk is read and decoded, which compares its checksum, so that a damaged shard is an error. The bytes that
    were decoded are written, whatever happens to the file meanwhile.

    Args:
        job: the export.
        stage: of the array.
        task: of level 0.
        source: the array of the result.
    """

    def __init__(self, job: ExportJob, stage: PyramidStage, task: Task, source: StoredShards) -> None:
        super().__init__(job, stage, task)
        assert isinstance(self.target, LevelStore)  # `copied_from` found it to be one
        self.source, self.stored = source, self.target

    def load(self, block: Block) -> tuple[Voxels, Contents]:  # type: ignore[override]
        """The voxels of a block inside the region of interest, and the files of its shards."""
        return self.source.read_with_contents(block.write)

    def compute(self, block: Block, loaded: tuple[Voxels, Contents]) -> tuple[Voxels, Contents]:  # type: ignore[override]
        """The same."""
        return loaded

    def store(self, block: Block, computed: tuple[Voxels, Contents]) -> Outcome:  # type: ignore[override]
        """Write the shards; or, if the region of interest cuts the block, its voxels."""
        voxels, contents = computed
        box = self.grid.box(block.index)
        if box.intersect(self.source.array.bounds) != block.write:
            return super().store(block, voxels)
        return outcome_of_array(voxels, self.stored.write_shards(box, contents))


def copied_from(job: ExportJob, stage: PyramidStage) -> StoredShards | None:
    """The array of the result whose files level 0 repeats; None if it has other ids or another layout.

    With a mask, blocks of the result may hold voxels of an earlier mask, which an export does not repeat.
    """
    array = stage.exported
    is_foreign = not array.upstream(job.source) or (array.name == "fragments" and job.source.fragments is not None)
    if is_foreign or job.source.mask is not None or (array.is_label and job.options.compact_ids):
        return None
    source = StoredShards(job.source.output_array(array.name), job.config.schedule.threads)
    target = stage.open_level(job, stage.levels(job)[0])
    return source if isinstance(target, LevelStore) and target.takes_shards_of(source) else None
