"""Format `meshes`: surfaces of segments, in the single-resolution mesh format of Neuroglancer.

The target holds `info`; per segment a manifest `ID:0`, which lists its pieces; per segment and block a piece
`ID:0:x0-x1_y0-y1_z0-z1`, named after the voxels of the block; and the sizes of the segments as segment properties. The
source of the layout is "Legacy single-resolution mesh format" of
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md. In that format a piece is a
whole file, so there are as many files as there are pairs of a segment and a block.

1. `SegmentSizes` sums up sizes, for the least size and for the properties.
2. `MeshPieces` writes the pieces of a block (`fgnet_pipeline.kernels.surface`), and a table that lists their segments.
3. `MeshManifests` climbs the octree with these lists, and writes the manifest of a segment where it is closed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from fgnet_pipeline.exports.segment_files import PROPERTIES, SegmentFiles, SegmentsFormat, write_files
from fgnet_pipeline.exports.segment_sizes import SEGMENT_SIZES
from fgnet_pipeline.exports.written_ids import WrittenIds
from fgnet_pipeline.kernels.surface import Piece, pieces
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome
from fgnet_pipeline.stages.stage import Stage, TableOutput
from fgnet_pipeline.store.atomic_files import write_json
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]
Labels = npt.NDArray[np.uint32]
CONTEXT = (1, 1, 1)


class MeshPieces(Stage):
    """Segmentation -> the pieces of the surfaces in every block of fragments."""

    name = "mesh-pieces"
    summary = "The surfaces of the chosen segments, one file per segment and block."
    tables = (TableOutput("mesh-pieces", {"segment": "uint64", "name": "uint64"}, redo="mesh-pieces"),)
    reads: ClassVar[Mapping[str, str]] = {"relabel": "array", "fragments": "tables"}
    scheduled_as = "relabel"
    bytes_per_voxel = (40, 40)

    def preload(self, config: Config) -> tuple[str, ...]:
        """The package that makes meshes; workers are forked with it loaded."""
        return ("zmesh",)

    def plan(self, job: Job) -> list[Task]:
        """One task. A block reads one voxel around it."""
        chosen = exported(job)
        upstream = ("fragments", "relabel", *upstream_of_choice(chosen))
        grid = Grid(job.config.schedule.block_shape_of("fragments"))
        fingerprint = {"format": self.format_version, **fingerprint_of_choice(chosen)}
        return [Task(self.name, self.name, grid, CONTEXT, CONTEXT, job.roi, upstream, fingerprint)]

    def open(self, job: Job, task: Task, worker: int) -> _Mesher:
        """Make the object that meshes blocks."""
        return _Mesher(exported(job))


class _Mesher:
    """Meshes blocks in one worker."""

    def __init__(self, job: ExportJob) -> None:
        self.job, self.chosen, self.names = job, Chosen(job), WrittenIds(job, "segments")
        self.written = job.output.tables(MeshPieces.name, MeshPieces.name)

    def load(self, block: Block) -> tuple[Ids, Ids, Labels]:
        """Read a block with one voxel around it.

        Returns:
            (chosen segments uint64 (n,), the ids under which they are written uint64 (n,), their numbers 1..n as uint32
            (z, y, x) of the block and one voxel around it, 0 outside the region of interest).
        """
        segments = self.chosen.in_block(block)
        labels = np.zeros(np.add(block.write.shape, 2), np.uint32)
        if len(segments):
            around = block.write.grow(CONTEXT, CONTEXT)
            labels[block.read.slices(around.begin)] = self.chosen.labels(block, segments)
        return segments, self.names.of(segments), labels

    def compute(self, block: Block, loaded: tuple[Ids, Ids, Labels]) -> tuple[Columns, dict[str, bytes]]:
        """The columns of the table, and the content of the files by name."""
        segments, names, labels = loaded
        found = list(pieces(labels)) if len(segments) else []
        at = np.array([piece.label - 1 for piece in found], np.int64)
        content = [encoded(piece, block.write.begin, self.job.frame) for piece in found]
        files = [file_of(int(name), block.whole) for name in names[at]]
        return {"segment": segments[at], "name": names[at]}, dict(zip(files, content, strict=True))

    def store(self, block: Block, computed: tuple[Columns, dict[str, bytes]]) -> Outcome:
        """Write the pieces, and the table that lists them."""
        return write_files(self.job, self.written, block, *computed)


def encoded(piece: Piece, begin: Vector, frame: Frame) -> bytes:
    """A piece in the format of Neuroglancer: uint32 number of vertices, float32 vertices (xyz, nm), uint32 triangles.

    A vertex on the face of a block gets the same float32 in every block: it is computed from its place in the volume.

    Args:
        piece: with vertices in half voxels of the block.
        begin: first voxel of the block, zyx.
        frame: of the volume; its offset is the corner of voxel 0.
    """
    halves = piece.vertices + 2 * np.asarray(begin)
    positions = np.asarray(frame.offset) + halves * (np.asarray(frame.voxel_size) / 2)
    vertices = np.ascontiguousarray(positions[:, ::-1], "<f4")
    return (
        np.uint32(len(vertices)).astype("<u4").tobytes() + vertices.tobytes() + piece.triangles.astype("<u4").tobytes()
    )


def file_of(name: int, whole: Box) -> str:
    """The file of the piece of a segment in a block, given the written id and the voxels of the block."""
    z, y, x = zip(whole.begin, whole.end, strict=True)
    return f"{name}:0:{x[0]}-{x[1]}_{y[0]}-{y[1]}_{z[0]}-{z[1]}"


class MeshManifests(ClimbingStage):
    """Lists of pieces -> the manifest of every segment."""

    name = "mesh-manifests"
    summary = "The list of the pieces of every segment."
    tables = (
        TableOutput(
            "mesh-manifests",
            {"segment": "uint64", "name": "uint64", "block": "int32[3]", "closed": "uint8"},
            redo="mesh-manifests",
        ),
    )
    leaf_upstream = (MeshPieces.name,)

    def open(self, job: Job, task: Task, worker: int) -> _Manifests:
        """Make the object that writes manifests."""
        return _Manifests(exported(job), self, task)


class _Manifests(SegmentFiles):
    """Writes the manifests of the segments that are closed at the nodes of one level."""

    pieces = MeshPieces.name

    def more_of_piece(self, block: Vector) -> Columns:
        """The block."""
        return {"block": np.array([block], np.int32)}

    def files_of(self, name: int, rows: Columns) -> dict[str, bytes]:
        """The manifest of a segment."""
        grid = self.job.plan.tasks[MeshPieces.name].grid
        listed = [file_of(name, grid.box(index)) for index in sorted(map(vector, rows["block"]))]
        return {f"{name}:0": (json.dumps({"fragments": listed}) + "\n").encode()}


class MeshesFormat(SegmentsFormat):
    """A folder that Neuroglancer opens as a source of meshes."""

    name = "meshes"
    summary = "Surfaces of segments in Neuroglancer's single-resolution mesh format."
    things = "meshes"
    packages: ClassVar[Mapping[str, str]] = {"zmesh": "export"}
    stages = (*STAGES["segments"], SEGMENT_SIZES, MeshPieces(), MeshManifests())

    def begin(self, job: ExportJob) -> None:
        """Write what makes the folder a source of meshes."""
        write_json(job.target / "info", {"@type": "neuroglancer_legacy_mesh", "segment_properties": PROPERTIES})


FORMAT = MeshesFormat()
