"""What one pass over a job has to compute, and how whoever watches is told: the words between driver and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of


@dataclass(frozen=True)
class Counts:
    """How far one task is.

    Attributes:
        total: number of its blocks.
        done: of them.
        failed: of them, after all retries.
        running: number of blocks that are being computed.
        not_begun: number of blocks that will not be begun, because a block that they read failed.
    """

    total: int
    done: int
    failed: int
    running: int
    not_begun: int = 0

    @property
    def left(self) -> int:
        """Number of blocks that are still to be computed, or are being computed."""
        return self.total - self.done - self.failed - self.not_begun


class Observer(Protocol):
    """Whoever watches a run."""

    def update(self, counts: dict[str, Counts]) -> None:
        """Take the counts of tasks by name, in the order of the data flow; called at most a few times per second."""

    def finish(self) -> None:
        """Take note that every block is done; called at most once, before the last sentence of a run."""


@dataclass(frozen=True)
class Work:
    """Tasks to run.

    Attributes:
        job: with its plan.
        spec: what workers are told.
        todo: name of a task -> whether each block of `plan.blocks(name)` is to be computed, bool (z, y, x).
        listed: name of a task -> its blocks one by one, instead of the grid, in any order and without dependencies.
    """

    job: Job
    spec: WorkerSpec
    todo: dict[str, npt.NDArray[np.bool_]]
    listed: Mapping[str, list[Vector]] = field(default_factory=dict)

    def workers_of(self, name: str) -> int:
        """How many workers a task is given: not more than it has blocks, since each has to open the job first."""
        asked = self.job.config.schedule.workers_of(stage_of(self.job.plan.tasks[name]).schedule)
        return max(1, min(asked, int(self.todo[name].sum())))
