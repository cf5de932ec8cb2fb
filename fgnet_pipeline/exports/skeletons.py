"""Format `skeletons`: centre lines of segments, as SWC files and in Neuroglancer's skeleton format.

The target holds `info`, per segment a binary file `ID` in nm and a file `swc/ID.swc` in micrometres, and the sizes of
the segments as segment properties. The sources of the layouts are
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/skeletons.md and
https://swc-specification.readthedocs.io.

1. `SegmentSizes` sums up sizes, for the least size and for the properties.
2. `SkeletonPieces` thins the segments of every block to a graph (`fgnet_pipeline.kernels.cells`).
3. `SkeletonTrees` climbs the octree with these graphs. At the node at which a segment is closed, it finds the centre
   line in the whole graph of the segment (`fgnet_pipeline.kernels.tree`) and writes its files.

So a skeleton does not depend on the shape of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Grid, vector
from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.exports.chosen_segments import Chosen, fingerprint_of_choice, upstream_of_choice
from fgnet_pipeline.exports.climbing import ClimbingStage
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.exports.numbering import STAGES
from fgnet_pipeline.exports.segment_files import PROPERTIES, SegmentFiles, SegmentsFormat
from fgnet_pipeline.exports.segment_sizes import SEGMENT_SIZES
from fgnet_pipeline.exports.skeleton_files import SWC, encoded, swc
from fgnet_pipeline.exports.written_ids import WrittenIds
from fgnet_pipeline.kernels.cells import FORWARD, Nodes, context_of, graph_of, nodes_of
from fgnet_pipeline.kernels.tree import tree_of
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, write_table
from fgnet_pipeline.stages.stage import Stage, TableOutput
from fgnet_pipeline.store.atomic_files import write_json
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]
Labels = npt.NDArray[np.uint32]
#: The columns of nodes, those of `fgnet_pipeline.kernels.cells.Nodes`; `name` is the id under which they are written.
COLUMNS = {
    "segment": "uint64", "name": "uint64", "voxel": "int32[3]", "radius": "float32", "part": "uint8",
    "links": f"uint8[{len(FORWARD)}]",
}  # fmt: skip
#: The columns that hold the fields of `Nodes`.
_HELD = ("segment", "voxel", "radius", "part", "links")


class SkeletonPieces(Stage):
    """Segmentation -> the graphs of the segments in every block of fragments."""

    name = "skeleton-pieces"
    summary = "The chosen segments of every block, thinned to a graph."
    format_version = 2
    tables = (TableOutput("skeleton-pieces", COLUMNS, redo="skeleton-pieces"),)
    reads: ClassVar[Mapping[str, str]] = {"relabel": "array", "fragments": "tables"}
    scheduled_as = "relabel"
    bytes_per_voxel = (60, 60)

    def plan(self, job: Job) -> list[Task]:
        """One task. A block reads the context that its nodes need."""
        chosen = exported(job)
        upstream = ("fragments", "relabel", *upstream_of_choice(chosen))
        grid = Grid(job.config.schedule.block_shape_of("fragments"))
        context = context_of(job.frame.voxel_size)
        fingerprint = {"format": self.format_version, **fingerprint_of_choice(chosen)}
        return [Task(self.name, self.name, grid, context, context, job.roi, upstream, fingerprint)]

    def open(self, job: Job, task: Task, worker: int) -> _Thinner:
        """Make the object that thins blocks."""
        return _Thinner(exported(job))


class _Thinner:
    """Thins blocks in one worker."""

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
        begin = block.read.begin
        core = Box(vector(np.subtract(block.write.begin, begin)), vector(np.subtract(block.write.end, begin)))
        nodes = nodes_of(labels, begin, core, self.job.frame.voxel_size)
        at = nodes.labels.astype(np.int64) - 1
        return {
            "segment": segments[at], "name": names[at], "voxel": nodes.voxels, "radius": nodes.radii,
            "part": nodes.parts, "links": nodes.links,
        }  # fmt: skip

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the table."""
        return write_table(self.written, block, computed)


class SkeletonTrees(ClimbingStage):
    """Graphs of blocks -> the centre line of every segment."""

    name = "skeleton-trees"
    summary = "The centre line of every segment, a tree in its graph."
    format_version = 2
    tables = (TableOutput("skeleton-trees", COLUMNS | {"closed": "uint8"}, redo="skeleton-trees"),)
    leaf_upstream = (SkeletonPieces.name,)

    def open(self, job: Job, task: Task, worker: int) -> _Trees:
        """Make the object that finds lines."""
        return _Trees(exported(job), self, task)


class _Trees(SegmentFiles):
    """Writes the trees of the segments that are closed at the nodes of one level."""

    pieces = SkeletonPieces.name

    def files_of(self, name: int, rows: Columns) -> dict[str, bytes]:
        """Both files of a segment.

        Raises:
            DamageError: the rows do not fit together.
        """
        frame = self.job.frame
        held = {name: rows[column] for name, column in zip(Nodes._fields, _HELD, strict=True)}
        try:
            graph = graph_of(Nodes(**held), frame.voxel_size)  # type: ignore[arg-type]  # dtypes are those of COLUMNS
        except ValueError as error:
            raise DamageError(f"skeleton {name} cannot be made ({error}): delete {self.job.state.root}") from error
        tree = tree_of(graph, frame.voxel_size)
        return {str(name): encoded(tree, frame), f"{SWC}/{name}.swc": swc(tree, frame, name)}


class SkeletonsFormat(SegmentsFormat):
    """A folder that Neuroglancer opens as a source of skeletons, with SWC files beside."""

    name = "skeletons"
    summary = "Centre lines of segments, as SWC and in Neuroglancer's skeleton format."
    things = "skeletons"
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
