"""The document that workers on other nodes open: exactly what the driver planned, frozen when it was submitted.

`progress/submission-RUN.json` holds the resolved configuration, the region, the tasks, and for every task which
blocks were to do (one bit per block, compressed: two megabytes at most for 10^7 blocks) and in how many shares they are
divided. A share is a contiguous range of the blocks to do, so no two workers have a block in common and none needs a
lock. The jobs of a submission are listed in another file (`fgnet_pipeline.execution.submitted_jobs`).
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Grid, Vector
from fgnet_pipeline.core.strict import Strict
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.store.atomic_files import write_json

FORMAT: Literal[1] = 1
Bits = npt.NDArray[np.bool_]
Triple = tuple[int, int, int]
Corners = tuple[Triple, Triple]


class TaskDocument(Strict):
    """A `fgnet_pipeline.core.task.Task` as JSON."""

    name: str
    stage: str
    block_shape: Triple
    below: Triple
    above: Triple
    reads: Corners
    upstream: tuple[str, ...]
    fingerprint: dict[str, Any]
    masked: bool
    cheap: bool

    @classmethod
    def of(cls, task: Task) -> TaskDocument:
        """The document of `task`."""
        return cls(
            name=task.name,
            stage=task.stage,
            block_shape=task.grid.block_shape,
            below=task.below,
            above=task.above,
            reads=(task.reads.begin, task.reads.end),
            upstream=task.upstream,
            fingerprint=dict(task.fingerprint),
            masked=task.masked,
            cheap=task.cheap,
        )

    def task(self) -> Task:
        """The task of which this document was made."""
        return Task(
            self.name, self.stage, Grid(self.block_shape), self.below, self.above, Box(*self.reads), self.upstream,
            self.fingerprint, self.masked, self.cheap,
        )  # fmt: skip


class WorkDocument(Strict):
    """The blocks of one task that were to do.

    Attributes:
        blocks: index box of the task's blocks.
        todo: one bit per block in C order, packed, compressed by zlib, in base64.
        shares: into how many shares the blocks to do are divided.
    """

    blocks: Corners
    todo: str
    shares: Annotated[int, Field(ge=1)]


class Document(Strict):
    """The whole file."""

    format: Literal[1]
    run: Annotated[int, Field(ge=1)]
    config: dict[str, Any]
    roi: Corners
    tasks: tuple[TaskDocument, ...]
    work: dict[str, WorkDocument]
    purpose: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """What workers are told.

    Attributes:
        spec: the resolved configuration, the plan and the number of the run.
        work: name of a task -> its blocks to do, and the number of shares.
    """

    spec: WorkerSpec
    work: dict[str, Share]

    def write(self, progress: Path) -> Path:
        """Write the document whole or not at all, and return its path."""
        spec = self.spec
        document = Document(
            format=FORMAT,
            run=spec.run,
            config=spec.config,
            roi=(spec.roi.begin, spec.roi.end),
            tasks=tuple(TaskDocument.of(task) for task in spec.tasks),
            work={name: share.document() for name, share in self.work.items()},
            purpose=dict(spec.purpose),
        )
        path = path_of(progress, spec.run)
        write_json(path, document.model_dump(mode="json"))
        return path


@dataclass(frozen=True)
class Share:
    """The blocks of one task that are to do, and in how many shares they are divided.

    Attributes:
        blocks: index box of the task's blocks.
        todo: bool, of the shape of `blocks`.
        shares: how many shares; at least 1.
    """

    blocks: Box
    todo: Bits
    shares: int

    @property
    def count(self) -> int:
        """How many blocks are to do, in all shares."""
        return int(self.todo.sum())

    def of(self, index: int) -> list[Vector]:
        """The blocks of share `index`, in C order; shares differ by one block at most, and together hold all."""
        places = np.flatnonzero(self.todo)
        first, last = (index * len(places)) // self.shares, ((index + 1) * len(places)) // self.shares
        positions = np.stack(np.unravel_index(places[first:last], self.todo.shape), -1) + np.asarray(self.blocks.begin)
        return [(int(z), int(y), int(x)) for z, y, x in positions]

    def document(self) -> WorkDocument:
        """The share as JSON."""
        packed = zlib.compress(np.packbits(self.todo).tobytes())
        text = base64.b64encode(packed).decode()
        return WorkDocument(blocks=(self.blocks.begin, self.blocks.end), todo=text, shares=self.shares)

    @classmethod
    def read(cls, document: WorkDocument) -> Share:
        """The share that `document` was made of."""
        blocks = Box(*document.blocks)
        bits = np.frombuffer(zlib.decompress(base64.b64decode(document.todo)), np.uint8)
        return cls(blocks, np.unpackbits(bits, count=blocks.size).astype(bool).reshape(blocks.shape), document.shares)


def path_of(progress: Path, run: int) -> Path:
    """The file of a submission.

    Args:
        progress: the output's folder of records.
        run: number of the driver's run.
    """
    return progress / f"submission-{run}.json"


def read_submission(path: Path) -> Submission:
    """Read and validate a document.

    Raises:
        DamageError: The document is missing or torn, or it is no submission.
    """
    try:
        document = Document.model_validate_json(path.read_bytes())
        tasks = tuple(task.task() for task in document.tasks)
        spec = WorkerSpec(document.config, Box(*document.roi), tasks, document.run, document.purpose)
        return Submission(spec, {name: Share.read(work) for name, work in document.work.items()})
    except (OSError, ValidationError, ValueError, zlib.error) as error:
        reason = str(error).splitlines()[0]
        raise DamageError(f"{path} cannot be read as a submission ({reason}); run fgnet submit again") from error
