"""The sizes of segments, from the fragment tables and the LUT: no voxel is read.

Per node of the octree there is a table of the segments that are closed there or still open (see
`fgnet_pipeline.exports.climbing`). The row that says closed has the size of the whole segment.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.exports.by_segment import ranges, rows_where
from fgnet_pipeline.exports.climbing import Climber, ClimbingStage, no_rows, with_closed
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.kernels.segment_rows import first_rows
from fgnet_pipeline.stages.checked_tables import key_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.outcome import Outcome, write_table
from fgnet_pipeline.stages.segments_of_fragments import fragments_of_leaf
from fgnet_pipeline.stages.stage import TableOutput
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]


class SegmentSizes(ClimbingStage):
    """Fragment tables and LUT -> voxels of every segment."""

    name = "segment-sizes"
    summary = "The voxels of every segment, from the fragment tables and the LUT."
    tables = (
        TableOutput(
            "segment-sizes", {"segment": "uint64", "voxels": "int64", "closed": "uint8"}, redo="segment-sizes"
        ),
    )  # fmt: skip
    leaf_upstream = ("fragments",)

    def open(self, job: Job, task: Task, worker: int) -> _Sizes:
        """Make the object that sums up sizes."""
        return _Sizes(exported(job), self, task)


#: The one object of the stage; several formats have it among their stages.
SEGMENT_SIZES = SegmentSizes()


class _Sizes(Climber):
    """Sums up the sizes of the nodes of one level."""

    def load(self, block: Block) -> Columns:
        """The rows of a node, sorted by segment."""
        node = block.index
        below = self._rows_of_leaf(node) if self.level == 0 else ranges(self.children(node))
        parts = [no_rows(self.stage), *below]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        rows = rows_where(rows, np.argsort(rows["segment"], kind="stable"))
        return with_closed(rows, self.open_segments(node))

    def _rows_of_leaf(self, leaf: Vector) -> Iterator[Columns]:
        """The segments and voxels of the fragments of a leaf."""
        for segments, rows in fragments_of_leaf(self.job.source, leaf, ["id", "voxels"]):
            yield {"segment": segments, "voxels": rows["voxels"].astype(np.int64)}

    def compute(self, block: Block, loaded: Columns) -> Columns:
        """The columns of the table: one row per segment."""
        first = first_rows(loaded["segment"])
        sums = np.zeros(int(first.sum()), np.int64)
        np.add.at(sums, np.cumsum(first) - 1, loaded["voxels"])
        return rows_where(loaded, first) | {"voxels": sums}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the table of the node."""
        return write_table(self.written, block, computed)


def size_tasks(job: ExportJob) -> tuple[str, ...]:
    """The tasks that must be done before `sizes_in_leaf`."""
    return tuple(SEGMENT_SIZES.task_of(level) for level in range(octree_of(job.source).levels))


def sizes_in_leaf(job: ExportJob, leaf: Vector, segments: Ids) -> npt.NDArray[np.int64]:
    """The sizes of segments that have a fragment in a leaf. Only the nodes above the leaf are read.

    Args:
        job: the export.
        leaf: its index.
        segments: uint64 (n,), sorted.

    Returns:
        Voxels of the whole segments, int64 (n,).

    Raises:
        DamageError: a table is damaged, or misses a segment.
    """
    tree, found = octree_of(job.source), np.zeros(len(segments), np.int64)
    for level in range(tree.levels):
        missing = segments[found == 0]
        if len(missing) == 0:
            break
        node = tree.grid(level).index_of(tree.grid(0).box(leaf).begin)
        key = key_of(job, SEGMENT_SIZES.task_of(level), node)
        tables = SEGMENT_SIZES.tables_of(job, level)
        rows = tables.read_range(node, "segment", int(missing[0]), int(missing[-1]), key)
        rows = rows_where(rows, (rows["closed"] == 1) & np.isin(rows["segment"], missing))
        found[np.searchsorted(segments, rows["segment"])] = rows["voxels"]
    if not found.all():
        raise DamageError(f"no table of sizes has segment {segments[found == 0][0]}: delete {job.state.root}")
    return found


def all_sizes(job: ExportJob) -> Iterator[tuple[Ids, npt.NDArray[np.int64]]]:
    """The segments uint64 (n,) and their voxels int64 (n,), in parts: one per node in which segments are closed."""
    for level in range(octree_of(job.source).levels):
        name = SEGMENT_SIZES.task_of(level)
        for node in job.plan.active_blocks(name, job.plan.blocks(name)):
            rows = SEGMENT_SIZES.read(job, level, node)
            rows = rows_where(rows, rows["closed"] == 1)
            yield rows["segment"].astype(np.uint64), rows["voxels"].astype(np.int64)
