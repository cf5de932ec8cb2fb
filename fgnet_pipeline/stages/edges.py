"""Stage edges: for every pair of touching fragments the integer sum and count of affinities, a table a block.

Tables hold sums and counts by channel, too, and where ``edges.histogram`` or the score asks for it how often each of
the 256 affinities occurs.

The affinity of voxel v and its neighbour belongs to the block that holds v, so each is counted once; the neighbour may
lie in the block before, which is why one voxel is read below a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.geometry import Grid
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.kernels.agglomeration.histograms import LEVELS
from fgnet_pipeline.kernels.agglomeration.merge_tree import check_edges
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.stages.checked_tables import EDGE_COLUMNS, listed_ids, refusal
from fgnet_pipeline.stages.configuration import has_histograms
from fgnet_pipeline.stages.density import Density, written_voxels
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_tables
from fgnet_pipeline.stages.stage import Contradiction, Stage, TableOutput
from fgnet_pipeline.store.input_identity import identity, sample
from fgnet_pipeline.store.tables import Columns

Loaded = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]


class EdgesStage(Stage):
    """Fragments and affinities -> edge tables."""

    name = "edges"
    summary = "The sum and the count of affinities for every pair of touching fragments."
    after = ("fragments",)
    reads: ClassVar[Mapping[str, str]] = {"fragments": "array"}
    tables = (
        TableOutput(
            "edges",
            {
                "u": "uint64", "v": "uint64", "sum": "uint64", "count": "uint64", "position": "float64[3]",
                "channel_sum": "uint64[3]", "channel_count": "uint64[3]",
            },
            redo="edges",
            optional={"histogram": f"uint32[{LEVELS}]"},
        ),
    )  # fmt: skip
    bytes_per_voxel = (32, 0)
    bytes_per_channel = (1, 0)

    def plan(self, job: Job) -> list[Task]:
        """One task; it reads fragments, and predicted affinities or the lab's."""
        block = job.config.schedule.block_shape_of(self.name)
        fingerprint: dict[str, Any] = {"format": self.format_version, "block_shape": list(block)}
        if has_histograms(job.config):
            # Only if they are wanted, so that the fingerprint of tables without them does not change.
            fingerprint["histogram"] = LEVELS
        upstream: tuple[str, ...] = ("fragments",)
        if job.affinities is None:
            upstream = ("predict", "fragments")
        elif job.fragments is not None:
            values = sample(job.bounds.shape, job.affinities.read, "affinities.path")
            fingerprint["affinities"] = identity(job.bounds.shape, values)
        return [Task(self.name, self.name, Grid(block), (1, 1, 1), NO_CONTEXT, job.roi, upstream, fingerprint)]

    def open(self, job: Job, task: Task, worker: int) -> Edges:
        """What counts the edges of blocks."""
        return Edges(job)

    def rows(self, job: Job, task: Task, density: Density) -> float:
        """Edges of one block, about."""
        return written_voxels(job, task) * density.edges / 1e6

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """Edges are sums that can be, between fragments that the block reads."""
        columns = tables["edges"]
        reason = refusal(lambda: check_edges(*(columns[name].astype(np.uint64) for name in EDGE_COLUMNS)))
        if reason is None:
            known = listed_ids(job, job.plan.tasks["fragments"].grid.covering(block.read))
            ends = np.concatenate([columns["u"], columns["v"]])
            unknown = ends[~np.isin(ends, known)] if known is not None else ends[:0]
            reason = f"it names fragment {unknown[0]}, which does not exist" if len(unknown) else None
        return Contradiction.if_any(reason, "edges")


class Edges:
    """Nearest-neighbour affinities only: long-range channels do not say that two fragments touch."""

    def __init__(self, job: Job) -> None:
        self.job, self.tables = job, job.output.tables("edges", "edges")

    def load(self, block: Block) -> Loaded:
        """(affinities uint8 (C, z, y, x), fragments uint64 (z, y, x)) of the read region."""
        return self.job.read_affinities(block.read), self.job.read_fragments(block.read)

    def compute(self, block: Block, loaded: Loaded) -> Columns:
        """The columns of the edge table; positions in voxels of the volume."""
        affinities, fragments = loaded
        if self.job.fragments is not None and self.job.mask is not None:
            fragments = np.where(self.job.mask.read(block.read), fragments, np.uint64(0))
        core = block.write.slices(block.read.begin)
        table = block_edges(affinities[:3], fragments, core, histogram=has_histograms(self.job.config))
        position = table.position + table.count[:, None].astype(np.float64) * np.asarray(block.read.begin)
        columns: Columns = {
            "u": table.u,
            "v": table.v,
            "sum": table.sum,
            "count": table.count,
            "position": position,
            "channel_sum": table.channel_sum,
            "channel_count": table.channel_count,
        }
        return columns if table.histogram is None else columns | {"histogram": table.histogram}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the edge table."""
        path = self.tables.write(block.index, computed, block.key)
        return outcome_of_tables([(path, computed)], block.write.size)


STAGE = EdgesStage()
