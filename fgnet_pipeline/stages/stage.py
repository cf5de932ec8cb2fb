"""The description of a stage: everything that is true of it, in its one file.

A stage is one subclass of :class:`Stage` and one object of it, called ``STAGE``, in a file of this folder or in an
installed package that names it in the entry-point group ``fgnet_pipeline.stages``. Plan, run, resume, status, verify,
cluster and estimate ask the object; none of them knows the name of a stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.stages.density import Density, read_shape
from fgnet_pipeline.stages.outcome import Outcome
from fgnet_pipeline.store.tables import Columns

if TYPE_CHECKING:
    from fgnet_pipeline.stages.job import Job

#: Bytes of a worker before its first block: the interpreter and everything that it imports, PyTorch included.
WORKER_BYTES = 450 << 20


class BlockWorker(Protocol):
    """One task in one worker. Loading, computing and storing are apart so that they can overlap."""

    def load(self, block: Block) -> Any:
        """Read what the block needs."""

    def compute(self, block: Block, loaded: Any) -> Any:
        """Compute without reading or writing anything."""

    def store(self, block: Block, computed: Any) -> Outcome:
        """Write the block's array and tables."""


@dataclass(frozen=True)
class ArrayOutput:
    """The array that a stage writes.

    Attributes:
        name: below ``output.path``.
        dtype: numpy's name.
        compressed: bytes on disk per uncompressed byte, as measured on FIB-25; only an estimate needs it.
    """

    name: str
    dtype: str
    compressed: float = 0.5


@dataclass(frozen=True)
class TableOutput:
    """A table that a stage writes per block.

    Attributes:
        kind: folder below ``tables``; octree levels add ``-LEVEL``.
        columns: name -> dtype, with the width of columns (n, k) in brackets, e.g. ``"int64[3]"``.
        optional: columns that only some configurations write, likewise.
        row_bytes: bytes on disk per row, as measured on FIB-25; only an estimate needs it.
        redo: the stage to redo if a table is damaged.
    """

    kind: str
    columns: Mapping[str, str]
    redo: str
    optional: Mapping[str, str] = field(default_factory=dict)
    row_bytes: float = 50.0

    def kind_of(self, task: Task) -> str:
        """The folder of the tables that ``task`` writes."""
        return self.kind if task.level is None else f"{self.kind}-{task.level}"


@dataclass(frozen=True)
class Contradiction:
    """What ``verify`` finds in data that can be decoded.

    Attributes:
        reason: a clause for people.
        table: kind of the table that holds it; None for the array.
        ids: whether ids are wrong in themselves; otherwise two stored things disagree.
    """

    reason: str
    table: str | None = None
    ids: bool = False

    @classmethod
    def if_any(cls, reason: str | None, table: str | None = None, ids: bool = False) -> Contradiction | None:
        """None if there is no ``reason``."""
        return None if reason is None else cls(reason, table, ids)


class Stage(ABC):
    """One stage of the data flow.

    Class attributes:
        name: what ``--redo`` and ``[schedule.NAME]`` call it; names of its tasks begin with it.
        summary: one sentence for documents.
        after: stages that come before it in the data flow, which fixes its place.
        format_version: of what it stores; part of the fingerprint of every task.
        array: the array that it writes, if any.
        tables: the tables that it writes, in the order in which their checksum is taken.
        reads: stage -> what of its output a block reads, ``"array"`` or ``"tables"``; a stage that is not named is read
            whole.
        reads_inputs_only: whether a block reads nothing that another stage makes.
        scheduled_as: the stage whose ``[schedule]`` table holds for this one; by default its own.
        lanes: blocks that one worker handles at a time, so that it reads and writes while it computes.
        preload: modules that the process which workers are forked from imports for this stage.
        by_voxel: whether memory and time of a block follow its voxels, so that one trial block tells those of all.
        keys_in_tables: whether a worker takes the keys of finished blocks from their tables, since computing them
            would need the whole volume.
        bytes_per_voxel: memory of a block, per voxel that is read and per voxel that is written.
        bytes_per_channel: the same, more for every channel of the affinities.
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
    preload: ClassVar[tuple[str, ...]] = ()
    by_voxel: ClassVar[bool] = True
    keys_in_tables: ClassVar[bool] = False
    bytes_per_voxel: ClassVar[tuple[int, int]] = (16, 16)
    bytes_per_channel: ClassVar[tuple[int, int]] = (0, 0)

    @abstractmethod
    def plan(self, job: Job) -> Sequence[Task]:
        """The tasks of this stage, none if the configuration does not need it, upstream tasks first.

        Raises:
            InputError: what the stage cannot work with.
        """

    @abstractmethod
    def open(self, job: Job, task: Task, worker: int) -> BlockWorker:
        """What computes blocks of ``task`` in one worker; models are loaded here.

        Args:
            worker: number of the worker, which may choose its GPU.
        """

    @property
    def schedule(self) -> str:
        """The stage whose ``[schedule]`` table holds."""
        return self.scheduled_as or self.name

    def array_of(self, job: Job) -> ArrayOutput | None:
        """The array that it writes in this job."""
        return self.array

    def array_attributes(self, task: Task) -> tuple[tuple[int, ...], dict[str, Any]]:
        """(lengths of the axes before z, attributes beside the usual ones) of the array."""
        return (), {}

    def memory(self, job: Job, task: Task, density: Density, channels: int) -> int:
        """Bytes that a worker needs for one block, by formula.

        Args:
            density: fragments and edges of the volume. channels: of the affinities.
        """
        of_read, of_written = (
            fixed + channels * more for fixed, more in zip(self.bytes_per_voxel, self.bytes_per_channel, strict=True)
        )
        return WORKER_BYTES + prod(read_shape(task)) * of_read + prod(task.grid.block_shape) * of_written

    def rows(self, job: Job, task: Task, density: Density) -> float:
        """Rows of one table of ``task``, about."""
        return 0.0

    def seconds(self, job: Job, task: Task, density: Density) -> float | None:
        """Seconds of one block, by formula; None if only a measurement tells."""
        return None

    def tiles(self, job: Job) -> dict[str, Any] | None:
        """How many tiles all blocks compute and how many there are, for a stage that works by tiles; else None."""
        return None

    def check_ready(self, job: Job, first: bool) -> None:  # noqa: B027 (most stages have nothing to check)
        """Check what is too slow to be checked by every plan; called once before a run that has blocks of this stage.

        Args:
            first: whether no block of the stage is done yet.

        Raises:
            InputError: the stage cannot work here.
        """

    def check_voxels(self, block: Block, voxels: npt.NDArray[Any]) -> Contradiction | None:
        """What is wrong in itself with the voxels that a block has stored; the checksum is compared elsewhere."""
        return None

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """What is wrong with the tables of a block, in themselves or beside what they were made of.

        Args:
            tables: kind (without level) -> columns. voxels: of the block's array, which are as recorded.
        """
        return None

    def as_columns(self, columns: Columns) -> dict[str, str]:
        """name -> dtype of ``columns``, in the form of :attr:`TableOutput.columns`."""
        return {name: _dtype_text(values) for name, values in columns.items()}


def _dtype_text(values: npt.NDArray[np.generic]) -> str:
    return str(values.dtype) if values.ndim == 1 else f"{values.dtype}[{values.shape[1]}]"
