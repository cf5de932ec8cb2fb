"""Which segments an export of single segments writes: those that are named, or those of a least size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.core.plan import single
from fgnet_pipeline.core.task import Block
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import count_task
from fgnet_pipeline.exports.segment_sizes import size_tasks, sizes_in_leaf
from fgnet_pipeline.kernels.relabel import relabel
from fgnet_pipeline.stages.checked_tables import key_of, read_lut_range
from fgnet_pipeline.stages.octree import lut_task, octree_of
from fgnet_pipeline.stages.segments_of_fragments import look_up

Ids = npt.NDArray[np.uint64]
#: Options of every format that writes single segments.
OPTIONS = ("compact_ids", "segments", "min_voxels")


def check_choice(job: ExportJob) -> None:
    """Refuse options that contradict each other, and ids that are no segments. The result is finished.

    Raises:
        InputError: segments are chosen both by id and by size, or an id is no segment in the region of interest.
    """
    if job.options.segments and job.options.min_voxels:
        expected = "no least size where segments are named: those are written whatever their size"
        raise InputError("--min-voxels", job.options.min_voxels, expected, "leave out --min-voxels or --segment")
    tree = octree_of(job.source)
    for segment in job.options.segments:
        leaf = vector(tree.node_of(np.array([segment], np.uint64), 0)[0])
        if not _is_segment(job, leaf, segment):
            expected = "the id of a segment at this threshold and in this region of interest"
            raise InputError("--segment", str(segment), expected, "take an id from the segmentation")


def _is_segment(job: ExportJob, leaf: Vector, segment: int) -> bool:
    """Whether `segment` is the name of a segment; a segment is named after one of its fragments."""
    if not job.source.plan.active(lut_task(0), single(leaf)).all():
        return False
    fragments, segments = read_lut_range(job.source, leaf, segment, segment)
    return bool(((fragments == segment) & (segments == segment)).any())


def upstream_of_choice(job: ExportJob) -> tuple[str, ...]:
    """The tasks that `Chosen` and `Names` read."""
    sizes = size_tasks(job) if job.options.min_voxels > 1 else ()
    return (*sizes, *((count_task("segments"),) if job.options.compact_ids else ()))


def fingerprint_of_choice(job: ExportJob) -> dict[str, object]:
    """The options that determine which segments are written, and under which ids."""
    options = job.options
    segments = [str(segment) for segment in sorted(options.segments)]
    return {"segments": segments, "min_voxels": options.min_voxels, "compact_ids": options.compact_ids}


def is_chosen(job: ExportJob, segments: Ids, voxels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which segments (n,) of these sizes (n,) are written."""
    if job.options.segments:
        return np.isin(segments, np.array(job.options.segments, np.uint64))
    return voxels >= job.options.min_voxels


class Chosen:
    """The chosen segments of blocks of the fragments stage.

    Args:
        job: the export.
    """

    def __init__(self, job: ExportJob) -> None:
        self.job, self.tree = job, octree_of(job.source)

    def in_block(self, block: Block) -> Ids:
        """The chosen segments that have a voxel in a block, sorted, by its fragment table and the LUT.

        Raises:
            DamageError: a table is damaged or does not belong to this plan.
        """
        source, leaf = self.job.source, self.tree.grid(0).index_of(block.whole.begin)
        tables = source.output.tables("fragments", "fragments")
        ids = np.unique(tables.read(block.index, ["id"], key_of(source, "fragments", block.index))["id"])
        if len(ids) == 0:
            return ids.astype(np.uint64)
        lut = read_lut_range(source, leaf, int(ids[0]), int(ids[-1]))
        segments = np.unique(look_up(source, 0, leaf, lut, ids.astype(np.uint64)))
        measured = self.job.options.min_voxels > 1
        sizes = sizes_in_leaf(self.job, leaf, segments) if measured else np.ones(len(segments), np.int64)
        return segments[is_chosen(self.job, segments, sizes)]

    def labels(self, block: Block, segments: Ids) -> npt.NDArray[np.uint32]:
        """The chosen segments of the read region of a block, numbered 1, 2, 3, ... in their order.

        Args:
            block: of a stage; its read region lies in the region of interest.
            segments: uint64 (n,), sorted.

        Returns:
            uint32 (z, y, x); 0 for everything else.
        """
        voxels = self.job.source.read_segmentation(block.read)
        return relabel(voxels, segments, np.arange(1, len(segments) + 1, dtype=np.uint64))[0].astype(np.uint32)
