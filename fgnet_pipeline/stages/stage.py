"""The description of a stage: everything that is true of it, in its one file.

A stage is one subclass of `Stage` and one object of it, called `STAGE`. It lies in a file of this folder, or in an
installed package that names it in the entry-point group `fgnet_pipeline.stages`. Plan, run, resume, status, verify,
cluster and estimate ask the object; none of them knows the name of a stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy.typing as npt

from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.stages.density import Density, read_shape
from fgnet_pipeline.stages.outcome import Outcome
from fgnet_pipeline.store.tables import Columns

if TYPE_CHECKING:
    from fgnet_pipeline.core.config import Config
    from fgnet_pipeline.stages.job import Job

#: Bytes of a worker before its first block: the interpreter and all imports, with PyTorch (docs/scale.md).
WORKER_BYTES = 450 << 20


class BlockWorker(Protocol):
    """Computes the blocks of one task in one worker.

    Loading, computing and storing are separate, so that they can overlap for different blocks. An attribute `lanes`
    replaces that of the stage.
    """

    def load(self, block: Block) -> Any:
        """Read everything that the block needs."""

    def compute(self, block: Block, loaded: Any) -> Any:
        """Compute the result from what `load` returned, without reading or writing."""

    def store(self, block: Block, computed: Any) -> Outcome:
        """Write the array and the tables of the block."""


@dataclass(frozen=True)
class ArrayOutput:
    """The array that a stage writes.

    Attributes:
        name: path below `output.path`.
        dtype: numpy's name of it.
        compressed: assumed bytes on disk per uncompressed byte (docs/scale.md); only estimates use it.
    """

    name: str
    dtype: str
    compressed: float = 0.5


@dataclass(frozen=True)
class TableOutput:
    """A table that a stage writes per block.

    Attributes:
        kind: folder below `tables`; octree levels add `-LEVEL`.
        columns: dtype per column; the width of a column (n, k) stands in brackets, e.g. `"int64[3]"`.
        redo: the stage to redo if a table is damaged.
        optional: columns that only some configurations write, in the same form.
        row_bytes: assumed bytes on disk per row (docs/scale.md); only estimates use it.
    """

    kind: str
    columns: Mapping[str, str]
    redo: str
    optional: Mapping[str, str] = field(default_factory=dict)
    row_bytes: float = 50.0

    def kind_of(self, task: Task) -> str:
        """The folder, below `tables`, of the tables that `task` writes."""
        return self.kind if task.level is None else f"{self.kind}-{task.level}"


@dataclass(frozen=True)
class Contradiction:
    """A fault that `fgnet verify` finds in data that can be decoded.

    Attributes:
        reason: a clause for people, e.g. `"it lists an id twice"`.
        table: kind of the faulty table; None for the array.
        ids: whether ids are impossible in themselves; otherwise two stored things disagree.
    """

    reason: str
    table: str | None = None
    ids: bool = False

    @classmethod
    def if_any(cls, reason: str | None, table: str | None = None, ids: bool = False) -> Contradiction | None:
        """A contradiction with this `reason`; None if `reason` is None."""
        return None if reason is None else cls(reason, table, ids)


class Stage(ABC):
    """One stage of the data flow.

    Attributes:
        name: `--redo` and `[schedule.NAME]` call the stage so; the names of its tasks begin with it.
        summary: one sentence for documents.
        after: stages that come before this one in the data flow.
        format_version: of the stored results; part of the fingerprint of every task.
        array: the array that the stage writes, if any.
        tables: the tables that the stage writes, in the order in which their checksum is taken.
        reads: per upstream stage, the part of its output that a block reads: `"array"` or `"tables"`. A block reads
            both of a stage that is not listed.
        reads_inputs_only: whether a block reads nothing that another stage makes.
        scheduled_as: the stage whose `[schedule]` table holds for this one; None: its own.
        lanes: blocks that one worker handles at a time, so that it reads and writes while it computes.
        by_voxel: whether memory and time of a block are proportional to its voxels. If so, a measurement of one trial
            block holds for all.
        keys_in_tables: whether a worker reads the keys of finished blocks from their tables. Set it if computing such a
            key would need the whole volume.
        bytes_per_voxel: bytes of memory of a block, per voxel of its read region and per voxel of the block.
        bytes_per_channel: bytes to add to `bytes_per_voxel` per channel of the affinities.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    after: ClassVar[tuple[str, ...]] = ()
    format_version: ClassVar[int] = 1
    array: ClassVar[ArrayOutput | None] = None
    tables: ClassVar[tuple[TableOutput, ...]] = ()
    reads: ClassVar[Mapping[str, str]] = {}
    reads_inputs_only: ClassVar[bool] = False
    scheduled_as: ClassVar[str | None] = None
    lanes: ClassVar[int] = 1
    by_voxel: ClassVar[bool] = True
    keys_in_tables: ClassVar[bool] = False
    bytes_per_voxel: ClassVar[tuple[int, int]] = (16, 16)
    bytes_per_channel: ClassVar[tuple[int, int]] = (0, 0)

    @abstractmethod
    def plan(self, job: Job) -> Sequence[Task]:
        """The tasks of this stage, upstream tasks first; none if the configuration does not need the stage.

        Raises:
            InputError: the stage cannot work with the configuration or its inputs.
        """

    @abstractmethod
    def open(self, job: Job, task: Task, worker: int) -> BlockWorker:
        """Make the object that computes blocks of `task` in one worker. Models are loaded here.

        Args:
            job: the opened job.
            task: one of this stage.
            worker: number of the worker, e.g. to choose its GPU.
        """

    def preload(self, config: Config) -> tuple[str, ...]:
        """Modules for this stage that the process from which workers are forked imports."""
        return ()

    @property
    def schedule(self) -> str:
        """The stage whose `[schedule]` table holds for this one."""
        return self.scheduled_as or self.name

    def array_of(self, job: Job) -> ArrayOutput | None:
        """The array that the stage writes in this job; None if it writes none."""
        return self.array

    def array_attributes(self, task: Task) -> tuple[tuple[int, ...], dict[str, Any]]:
        """Axes and attributes of the array beside those that every array has.

        Returns:
            (lengths of the axes before z, attributes).
        """
        return (), {}

    def memory(self, job: Job, task: Task, density: Density, channels: int) -> int:
        """Estimate the bytes that a worker needs for one block.

        Args:
            job: the opened job.
            task: one of this stage.
            density: fragments and edges of the volume.
            channels: number of channels of the affinities.
        """
        of_read, of_written = (
            fixed + channels * more for fixed, more in zip(self.bytes_per_voxel, self.bytes_per_channel, strict=True)
        )
        return WORKER_BYTES + prod(read_shape(task)) * of_read + prod(task.grid.block_shape) * of_written

    def rows(self, job: Job, task: Task, density: Density) -> float:
        """Estimate the rows of one table of `task`."""
        return 0.0

    def seconds(self, job: Job, task: Task, density: Density) -> float | None:
        """Estimate the seconds of one block; None if there is no formula and only a measurement tells."""
        return None

    def tiles(self, job: Job) -> dict[str, Any] | None:
        """Count the tiles of the network; None for a stage that does not work by tiles.

        Returns:
            `shape` and `stride` of a tile in voxels, zyx; `computed`, the sum of the tiles of all blocks; `needed`, the
            tiles of the region of interest; `architecture`, the preset of the network.
        """
        return None

    def has_key_table(self, task: Task) -> bool:
        """Whether a worker reads the keys of the finished blocks of `task` from their tables (`keys_in_tables`)."""
        return self.keys_in_tables

    def check_ready(self, job: Job, first: bool) -> None:  # noqa: B027 (most stages have nothing to check)
        """Check what would take too long in every plan. It is called once before a run that has blocks of this stage.

        Args:
            job: the opened job.
            first: whether no block of the stage is done yet.

        Raises:
            InputError: the stage cannot work here.
        """

    def check_machine(self, job: Job) -> None:  # noqa: B027 (most stages need nothing of a machine)
        """Check what a stage needs of the machine that computes its blocks. It is called before a run on this machine.

        Args:
            job: the opened job.

        Raises:
            InputError: something is missing here.
        """

    def check_voxels(self, block: Block, voxels: npt.NDArray[Any]) -> Contradiction | None:
        """Find a fault in the stored voxels of a block alone. The caller compares the checksum.

        Args:
            block: the block.
            voxels: of its write region, (z, y, x) or (C, z, y, x).
        """
        return None

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """Find a fault in the tables of a block, alone or compared with the data that they were made from.

        Args:
            job: the opened job.
            block: the block.
            tables: columns per kind (without level).
            voxels: of the block's array, already found to be as recorded; None if the job writes no such array.
        """
        return None
