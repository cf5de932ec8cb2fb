"""The job of an export: a finished result, what is made of it, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.geometry import Grid
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.exports.format import Format, Options
from fgnet_pipeline.exports.registry import format_of
from fgnet_pipeline.exports.state import State
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import lut_task
from fgnet_pipeline.stages.registry import attach_known_keys, stages

OPENER = "fgnet_pipeline.exports.job:reopen"


@dataclass
class ExportJob(Job):
    """An export.

    As a `Job` it has the configuration, region and mask of the result. Its `plan` has the tasks of the result and those
    of the export, and `output` holds only records, logs and tables of the export. Arrays and tables of the result are
    read through `source`.

    Attributes:
        source: the result, opened, with its own plan.
        format: the export format.
        options: what the user chose.
        to: the target, a path or a URL.
    """

    source: Job = None  # type: ignore[assignment]  # fields of a subclass need defaults; `export_job` sets all
    format: Format = None  # type: ignore[assignment]
    options: Options = field(default_factory=Options)
    to: str = ""

    @property
    def target(self) -> Path:
        """The target as a path; only if it is no URL."""
        return Path(self.to)

    @property
    def state(self) -> State:
        """The folder of records and tables of this export."""
        assert isinstance(self.output, State)  # `export_job` sets it
        return self.output

    @property
    def tasks(self) -> list[Task]:
        """The tasks of the export, without those of the result."""
        return [task for name, task in self.plan.tasks.items() if name not in self.source.plan.tasks]

    @property
    def is_compact(self) -> bool:
        """Whether exported ids are compact (`fgnet_pipeline.exports.numbering`)."""
        return self.options.compact_ids or self.format.always_compact

    @cached_property
    def compact_dtype(self) -> str:
        """The dtype of compact ids: `"uint32"` if they certainly fit, else `"uint64"`.

        There are at most as many segments as fragments, so the rows of the LUTs of all leaves are a bound for both.
        """
        task = lut_task(0)
        tables = self.source.output.tables(task, "agglomerate")
        leaves = self.source.plan.active_blocks(task, self.source.plan.blocks(task))
        return "uint32" if sum(tables.rows(leaf) for leaf in leaves) < 1 << 32 else "uint64"

    def whole_grid(self) -> Grid:
        """A grid of which one block holds the whole volume, for a task that cannot be divided.

        Its side is a power of two, so that it changes seldom if the volume grows.
        """
        side = 1 << int(np.ceil(np.log2(max(16, *self.bounds.end))))
        return Grid((side, side, side))


def exported(job: Job) -> ExportJob:
    """`job` as an export: stages of exports are given no other job."""
    assert isinstance(job, ExportJob)
    return job


def export_job(source: Job, chosen: Format, options: Options, to: str, folder: Path) -> ExportJob:
    """The job of an export, without its plan.

    Args:
        source: the result, with its plan.
        chosen: the format.
        options: of the export.
        to: the target, a path or a URL.
        folder: of records and tables of the export.
    """
    held = {each.name: getattr(source, each.name) for each in fields(Job) if each.name not in ("left", "plan")}
    purpose = {
        "opener": OPENER,
        "format": chosen.name,
        "options": options.to_dict(),
        "to": to if is_url(to) else str(Path(to).absolute()),
        "folder": str(folder.absolute()),
    }
    held |= {"output": State(folder), "purpose": purpose}
    return ExportJob(**held, source=source, format=chosen, options=options, to=to)


def reopen(source: Job, purpose: Mapping[str, Any]) -> ExportJob:
    """Open an export in a worker.

    Args:
        source: the result, with a plan that has the tasks of the result and of the export.
        purpose: of the driver's job.
    """
    chosen, tasks = format_of(purpose["format"]), list(source.plan.tasks.values())
    source.plan = Plan(source.roi, [task for task in tasks if task.stage in stages()], source.mask)
    attach_known_keys(source)
    options = Options.from_dict(purpose["options"])
    job = export_job(source, chosen, options, purpose["to"], Path(purpose["folder"]))
    job.plan = Plan(source.roi, tasks, source.mask, source.plan.known)
    attach_known_keys(job, job.tasks)
    return job
