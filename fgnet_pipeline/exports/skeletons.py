"""Format `skeletons`: centre lines of segments, as SWC files and in Neuroglancer's skeleton format.

The target holds `info`, per segment a binary file `ID` in nm and a file `swc/ID.swc` in micrometres, and the sizes of
the segments as segment properties. The sources of the layouts are
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/skeletons.md and
https://swc-specification.readthedocs.io.

1. `SegmentSizes` sums up sizes, for the least size and for the properties.
2. `SkeletonPieces` finds the lines in every block (`fgnet_pipeline.kernels.skeletons`).
3. `SkeletonTrees` climbs the octree with them. Where a segment is closed, it joins the lines of the segment to a tree
   (`fgnet_pipeline.kernels.tree`) and writes its files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.geometry import Box, Grid, Vector, vector
from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.exports.chosen_segments import Chosen, fingerprint_of_choice, upstream_of_choice
from fgnet_pipeline.exports.climbing import ClimbingStage
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.numbering import STAGES
from fgnet_pipeline.exports.segment_files import PROPERTIES, SegmentFiles, SegmentsFormat
from fgnet_pipeline.exports.segment_sizes import SEGMENT_SIZES
from fgnet_pipeline.exports.skeleton_files import SWC, encoded, swc
from fgnet_pipeline.exports.written_ids import WrittenIds
from fgnet_pipeline.kernels.skeletons import CONTEXT, centre_lines
from fgnet_pipeline.kernels.tree import tree_of
from fgnet_pipeline.stages.checked_tables import key_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, write_table
from fgnet_pipeline.stages.stage import Stage, TableOutput
from fgnet_pipeline.store.atomic_files import write_json
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]
Labels = npt.NDArray[np.uint32]
#: The columns of lines. `ends` are voxels of the volume, zyx and zyx; `radii` are in nm.
COLUMNS = {"segment": "uint64", "name": "uint64", "ends": "int32[6]", "radii": "float32[2]"}


class SkeletonPieces(Stage):
    """Segmentation -> the centre lines in every block of fragments."""

    name = "skeleton-pieces"
    summary = "The centre lines of the chosen segments in every block."
    tables = (TableOutput("skeleton-pieces", COLUMNS, redo="skeleton-pieces"),)
    reads: ClassVar[Mapping[str, str]] = {"relabel": "array", "fragments": "tables"}
    scheduled_as = "relabel"
    bytes_per_voxel = (60, 60)

    def preload(self, config: Config) -> tuple[str, ...]:
        """The package that makes skeletons; workers are forked with it loaded."""
        return ("kimimaro",)

    def plan(self, job: Job) -> list[Task]:
        """One task. A block reads the context that its lines need."""
        chosen = exported(job)
        upstream = ("fragments", "relabel", *upstream_of_choice(chosen))
        grid = Grid(job.config.schedule.block_shape_of("fragments"))
        context = (CONTEXT, CONTEXT, CONTEXT)
        fingerprint = {"format": self.format_version, **fingerprint_of_choice(chosen)}
        return [Task(self.name, self.name, grid, context, context, job.roi, upstream, fingerprint)]

    def open(self, job: Job, task: Task, worker: int) -> _Lines:
        """Make the object that finds the lines of blocks."""
        return _Lines(exported(job))


class _Lines:
    """Finds the lines of blocks in one worker."""

    def __init__(self, job: ExportJob) -> None:
        self.job, self.chosen, self.names = job, Chosen(job), WrittenIds(job, "segments")
        self.written = job.output.tables(SkeletonPieces.name, SkeletonPieces.name)

    def load(self, block: Block) -> tuple[Ids, Ids, Labels]:
        """Read a block with its context.

        Returns:
            (chosen segments uint64 (n,), the ids under which they are written uint64 (n,), their numbers 1..n as uint32
            (z, y, x)).
        """
        segments = self.chosen.in_block(block)
        labels = self.chosen.labels(block, segments) if len(segments) else np.zeros(block.read.shape, np.uint32)
        return segments, self.names.of(segments), labels

    def compute(self, block: Block, loaded: tuple[Ids, Ids, Labels]) -> Columns:
        """The columns of the table, sorted by segment."""
        segments, names, labels = loaded
        begin = np.array(block.read.begin, np.int32)
        core = Box(vector(block.write.begin - begin), vector(block.write.end - begin))
        lines = centre_lines(labels, core, self.job.frame.voxel_size)
        at, ends = lines.labels.astype(np.int64) - 1, lines.ends + np.tile(begin, 2)
        return {"segment": segments[at], "name": names[at], "ends": ends, "radii": lines.radii}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the table."""
        return write_table(self.written, block, computed)


class SkeletonTrees(ClimbingStage):
    """Lines of blocks -> the tree of every segment."""

    name = "skeleton-trees"
    summary = "The centre lines of all blocks, joined to trees."
    tables = (TableOutput("skeleton-trees", COLUMNS | {"closed": "uint8"}, redo="skeleton-trees"),)
    leaf_upstream = (SkeletonPieces.name,)

    def open(self, job: Job, task: Task, worker: int) -> _Trees:
        """Make the object that joins lines."""
        return _Trees(exported(job), self, task)


class _Trees(SegmentFiles):
    """Writes the trees of the segments that are closed at the nodes of one level."""

    def rows_of_leaf(self, leaf: Vector) -> Iterator[Columns]:
        """The lines of the blocks of a leaf."""
        name = SkeletonPieces.name
        tables, ids = self.job.output.tables(name, name), np.zeros(0, np.uint64)
        yield {"segment": ids, "name": ids, "ends": np.zeros((0, 6), np.int32), "radii": np.zeros((0, 2), np.float32)}
        for block in self.job.plan.active_blocks(name, self.tree.blocks_of_leaf(leaf)):
            yield tables.read(block, key=key_of(self.job, name, block))

    def files_of(self, name: int, rows: Columns) -> dict[str, bytes]:
        """Both files of a segment."""
        frame = self.job.frame
        tree = tree_of(rows["ends"].astype(np.int32), rows["radii"].astype(np.float32), frame.voxel_size)
        return {str(name): encoded(tree, frame), f"{SWC}/{name}.swc": swc(tree, frame, name)}


class SkeletonsFormat(SegmentsFormat):
    """A folder that Neuroglancer opens as a source of skeletons, with SWC files beside."""

    name = "skeletons"
    summary = "Centre lines of segments, as SWC and in Neuroglancer's skeleton format."
    things = "skeletons"
    packages: ClassVar[Mapping[str, str]] = {"kimimaro": "skeletons"}
    stages = (*STAGES["segments"], SEGMENT_SIZES, SkeletonPieces(), SkeletonTrees())

    def begin(self, job: ExportJob) -> None:
        """Write what makes the folder a source of skeletons."""
        document = {
            "@type": "neuroglancer_skeletons",
            "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
            "vertex_attributes": [{"id": "radius", "data_type": "float32", "num_components": 1}],
            "segment_properties": PROPERTIES,
        }
        write_json(job.target / "info", document)


FORMAT = SkeletonsFormat()
