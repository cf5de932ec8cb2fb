"""Stage 3: for every pair of touching fragments the integer sum and count of affinities, a table a block.

Tables hold sums and counts by channel, too, and where ``edges.histogram`` or the score asks for it how often each of
the 256 affinities occurs.

The affinity of voxel v and its neighbour belongs to the block that holds v, so each is counted once; the neighbour may
lie in the block before, which is why one voxel is read below a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Grid, Vector
from fgnet_pipeline.core.plan import NO_CONTEXT, Task
from fgnet_pipeline.kernels.agglomeration.histograms import LEVELS
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.stage import Outcome, outcome_of_tables
from fgnet_pipeline.store.input_identity import identity, sample

FORMAT = 1
Loaded = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]


def plan_task(job: Job) -> Task:
    """The edges task; it reads fragments, and predicted or the lab's affinities."""
    block = job.config.schedule.block_shape_of("edges")
    fingerprint: dict[str, Any] = {"format": FORMAT, "block_shape": list(block)}
    if job.config.has_histograms:
        # Only where they are wanted: tables without them stay what they always were.
        fingerprint["histogram"] = LEVELS
    upstream: tuple[str, ...] = ("fragments",)
    if job.affinities is None:
        upstream = ("predict", "fragments")
    elif job.fragments is not None:
        values = sample(job.bounds.shape, job.affinities.read, "affinities.path")
        fingerprint["affinities"] = identity(job.bounds.shape, values)
    return Task("edges", "edges", Grid(block), (1, 1, 1), NO_CONTEXT, job.roi, upstream, fingerprint)


class Edges:
    """Nearest-neighbour affinities only: long-range channels do not say that two fragments touch."""

    def __init__(self, job: Job, worker: int = 0) -> None:
        self.job, self.task = job, job.plan.tasks["edges"]
        self.tables = job.output.tables("edges", "edges")

    def load(self, block: Vector) -> Loaded:
        box = self.task.read_box(block)
        return self.job.read_affinities(box), self.job.read_fragments(box)

    def compute(self, block: Vector, loaded: Loaded) -> dict[str, npt.NDArray[Any]]:
        affinities, fragments = loaded
        origin = self.task.read_box(block).begin
        if self.job.fragments is not None and self.job.mask is not None:
            tissue = self.job.mask.read(self.task.read_box(block))
            fragments = np.where(tissue, fragments, np.uint64(0))
        core = self.job.plan.write_box("edges", block).slices(origin)
        table = block_edges(affinities[:3], fragments, core, histogram=self.job.config.has_histograms)
        position = table.position + table.count[:, None].astype(np.float64) * np.asarray(origin)
        columns = {
            "u": table.u,
            "v": table.v,
            "sum": table.sum,
            "count": table.count,
            "position": position,
            "channel_sum": table.channel_sum,
            "channel_count": table.channel_count,
        }
        return columns if table.histogram is None else columns | {"histogram": table.histogram}

    def store(self, block: Vector, computed: dict[str, npt.NDArray[Any]]) -> Outcome:
        path = self.tables.write(block, computed, self.job.plan.identity("edges", block)[0])
        return outcome_of_tables([(path, computed)], self.job.plan.write_box("edges", block).size)
