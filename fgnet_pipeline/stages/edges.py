"""Stage edges: fragments and affinities -> one edge table per block.

A table lists every pair of touching fragments, with the integer sum and the count of the affinities between them: in
total and per channel. If `edges.histogram` is set or the score needs it, the table also counts how often each of the
256 affinities occurs.

An affinity belongs to a voxel v and its neighbour below v along one axis. The block that holds v counts it, so every
affinity is counted once. The neighbour may lie in the previous block. Therefore a block reads one voxel below itself.
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
from fgnet_pipeline.stages.known_inputs import identity_of
from fgnet_pipeline.stages.outcome import Outcome, write_table
from fgnet_pipeline.stages.stage import Contradiction, Stage, TableOutput
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
        """One task. It reads fragments, and predicted affinities or the lab's own."""
        block = job.config.schedule.block_shape_of(self.name)
        fingerprint: dict[str, Any] = {"format": self.format_version, "block_shape": list(block)}
        if has_histograms(job.config):
            # No key without histograms, so that older outputs, which have none, do not become stale.
            fingerprint["histogram"] = LEVELS
        upstream: tuple[str, ...] = ("fragments",)
        if job.affinities is None:
            upstream = ("predict", "fragments")
        elif job.fragments is not None:
            fingerprint["affinities"] = identity_of(job, "affinities", self.name)
        return [Task(self.name, self.name, Grid(block), (1, 1, 1), NO_CONTEXT, job.roi, upstream, fingerprint)]

    def open(self, job: Job, task: Task, worker: int) -> Edges:
        """Make the object that counts edges."""
        return Edges(job)

    def rows(self, job: Job, task: Task, density: Density) -> float:
        """Estimate the edges of one block."""
        return written_voxels(job, task) * density.edges / 1e6

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """Check that sums and counts are possible, and that the fragments exist in the blocks that this block reads."""
        columns = tables["edges"]
        reason = refusal(lambda: check_edges(*(columns[name].astype(np.uint64) for name in EDGE_COLUMNS)))
        if reason is None:
            known = listed_ids(job, job.plan.tasks["fragments"].grid.covering(block.read))
            ends = np.concatenate([columns["u"], columns["v"]])
            unknown = ends[~np.isin(ends, known)] if known is not None else ends[:0]
            reason = f"it names fragment {unknown[0]}, which does not exist" if len(unknown) else None
        return Contradiction.if_any(reason, "edges")


class Edges:
    """Counts the edges of blocks.

    Only nearest-neighbour channels are used. Long-range channels do not show whether two fragments touch.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.tables = job, job.output.tables("edges", "edges")

    def load(self, block: Block) -> Loaded:
        """(affinities uint8 (C, z, y, x), fragments uint64 (z, y, x)) of the read region."""
        return self.job.read_affinities(block.read), self.job.read_tissue_fragments(block.read)

    def compute(self, block: Block, loaded: Loaded) -> Columns:
        """The columns of the edge table. Positions are voxels of the volume."""
        affinities, fragments = loaded
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
        return write_table(self.tables, block, computed)


STAGE = EdgesStage()
