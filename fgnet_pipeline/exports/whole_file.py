"""The last task of an export to one file: it copies the tables of all leaves into the file.

The file is written under another name and renamed when it is complete. The done record of the task says that it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import crc32c
import numpy as np

from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.core.version import __version__
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.numbering import Kind
from fgnet_pipeline.stages.checked_tables import key_of
from fgnet_pipeline.stages.configuration import score_of, score_part
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome
from fgnet_pipeline.stages.stage import Stage
from fgnet_pipeline.store.atomic_files import remove_unfinished
from fgnet_pipeline.store.tables import Columns

#: Bytes that are read at once for a checksum.
PIECE = 1 << 20
#: Ids of the region adjacency graph.
KINDS: tuple[Kind, ...] = ("fragments", "segments")


class WholeFile(Stage):
    """Copies tables into one file.

    Attributes:
        upstream: names of the tasks whose tables are copied.
    """

    upstream: ClassVar[tuple[str, ...]]
    scheduled_as = "agglomerate"
    by_voxel = False

    def plan(self, job: Job) -> list[Task]:
        """One block that reads the tables of all leaves."""
        grid, fingerprint = exported(job).whole_grid(), {"format": self.format_version}
        return [
            Task(self.name, self.name, grid, NO_CONTEXT, NO_CONTEXT, job.roi, self.upstream, fingerprint)
        ]  # fmt: skip

    def open(self, job: Job, task: Task, worker: int) -> _Writer:
        """Make the object that writes the file."""
        return _Writer(exported(job), self)

    @abstractmethod
    def write(self, job: ExportJob, block: Block) -> int:
        """Write the target, whole or not at all.

        Returns:
            The number of rows.
        """


class _Writer:
    def __init__(self, job: ExportJob, stage: WholeFile) -> None:
        self.job, self.stage = job, stage

    def load(self, block: Block) -> None:
        """Load nothing: tables are read one by one while the file is written."""

    def compute(self, block: Block, loaded: None) -> None:
        """Compute nothing: `store` does all the work."""

    def store(self, block: Block, computed: None) -> Outcome:
        """Write the file."""
        paths = list(self.job.format.paths(self.job))
        for path in paths:
            remove_unfinished(path)
        rows = self.stage.write(self.job, block)
        written = [path for path in paths if path.exists()]
        return Outcome(f"crc32c:{_checksum(written):08x}", rows, block.write.size, written)


def _checksum(paths: list[Path]) -> int:
    checksum = 0
    for path in paths:
        with path.open("rb") as stream:
            while piece := stream.read(PIECE):
                checksum = crc32c.crc32c(piece, checksum)
    return checksum


def leaf_tables(job: ExportJob, name: str, rows: int = 0) -> Iterator[Columns]:
    """The tables that a task has written, block by block in C order.

    Args:
        job: the export.
        name: of the task, which is also the kind of its tables.
        rows: small tables are put together until they have at least so many rows.

    Raises:
        DamageError: a table is damaged or does not belong to this plan.
    """
    tables = job.output.tables(name, name)
    waiting: list[Columns] = []
    for block in job.plan.active_blocks(name, job.plan.blocks(name)):
        waiting.append(tables.read(block, key=key_of(job, name, block)))
        if sum(len(next(iter(columns.values()))) for columns in waiting) >= rows:
            yield _united(waiting)
            waiting = []
    if waiting:
        yield _united(waiting)


def _united(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def description(job: ExportJob) -> dict[str, Any]:
    """The document that a file carries about its own content."""
    config, score = job.source.config, score_of(job.source.config)
    return {
        "format": job.format.name,
        "version": __version__,
        "threshold": config.agglomerate.threshold,
        "score": score.text(score_part(config)),
        "min_contact": config.agglomerate.min_contact,
        "voxel_size": list(job.frame.voxel_size),
        "offset": list(job.frame.offset),
        "axes": ["z", "y", "x"],
        "unit": "nm",
        "compact_ids": job.is_compact,
    }
