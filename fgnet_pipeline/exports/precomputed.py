"""Format precomputed: one array as a volume of Neuroglancer's precomputed format, with a pyramid.

Source: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed (volume.md).

A volume is placed by `voxel_offset`, whole voxels of every scale. So the place of a scale is exact only if the offset
is a multiple of its voxel size. If it is not in full resolution, the export is refused; coarser scales for which it is
not are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.exports.arrays import ResultArray
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.levels import Level, levels_of
from fgnet_pipeline.exports.numbering import NUMBERING
from fgnet_pipeline.exports.precomputed_scale import Layout, Scale, key_of
from fgnet_pipeline.exports.pyramid import PyramidFormat, PyramidStage, stages_of_arrays
from fgnet_pipeline.exports.segment_files import PROPERTIES, write_properties
from fgnet_pipeline.exports.segment_sizes import SEGMENT_SIZES
from fgnet_pipeline.store.atomic_files import write_json
from fgnet_pipeline.store.frame import SAME_PLACE

DEFAULT = ("segmentation",)
#: Voxels of a chunk along its longest axis, and of a block at most.
CHUNK, BLOCK_VOXELS = 64, 1 << 24
#: Neuroglancer reads properties of more segments slowly.
MANY_SEGMENTS = 1_000_000
#: Types that Neuroglancer and TensorStore know.
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")


def layout_of(job: ExportJob, array: ResultArray) -> Layout:
    """The storage of the scales.

    A block is a power of two of voxels along each axis: up to twice the block of the stage relabel, so that there are
    few files, and not more than 2^24 voxels, which a worker holds in memory.
    """
    base = job.config.schedule.block_shape_of("relabel")
    side = [1 << (length.bit_length() - 1) for length in base]
    if prod(side) * 8 <= BLOCK_VOXELS:
        side = [2 * length for length in side]
    width = max(0, max(side).bit_length() - CHUNK.bit_length())
    chunk = vector([max(8, length >> width) for length in side])
    channels = array.channels(job.source)
    return Layout(chunk, width, array.dtype(job), channels[0] if channels else None, array.is_label)


def voxel_offset(job: ExportJob) -> Vector:
    """The offset in voxels, zyx.

    Raises:
        InputError: it is no whole number of voxels.
    """
    voxels = np.divide(job.frame.offset, job.frame.voxel_size)
    whole = np.rint(voxels)
    if (np.abs(voxels - whole) > SAME_PLACE).any():
        expected = f"a multiple of the voxel size {list(job.frame.voxel_size)} nm, the unit of precomputed places"
        nearest = np.multiply(whole, job.frame.voxel_size).tolist()
        remedy = f"accept another place (--set volume.offset={nearest}), or export ome-zarr"
        raise InputError("volume.offset", list(job.frame.offset), expected, remedy)
    return vector(whole)


def scales_of(job: ExportJob) -> list[Level]:
    """The levels of the pyramid that can be placed exactly.

    Raises:
        InputError: `--levels` asks for more than these.
    """
    offset = voxel_offset(job)
    wanted = levels_of(job.bounds.shape, job.frame, job.options.levels)
    exact = [level for level in wanted if not np.mod(offset, level.factor).any()]
    if job.options.levels is not None and len(exact) < len(wanted):
        expected = f"at most {len(exact)}: the offset {list(job.frame.offset)} nm is no multiple of larger voxels"
        raise InputError("--levels", job.options.levels, expected, f"choose {len(exact)}, or export ome-zarr")
    return exact


class PrecomputedStage(PyramidStage):
    """The scales of one array."""

    default_arrays = DEFAULT

    def block_shape(self, job: ExportJob) -> Vector:
        """One shard."""
        return layout_of(job, self.exported).block

    def layout(self, job: ExportJob) -> Mapping[str, Any]:
        """The shape of the chunks."""
        return {"chunk_shape": list(layout_of(job, self.exported).chunk)}

    def levels(self, job: ExportJob) -> list[Level]:
        """The scales that can be placed exactly."""
        return scales_of(job)

    def open_level(self, job: ExportJob, level: Level) -> Scale:
        """Open a scale."""
        key, threads = key_of(level.frame(job.frame)), job.config.schedule.threads
        return Scale(job.target, level.number, level, key, layout_of(job, self.exported), threads)


class Precomputed(PyramidFormat):
    """A volume with a pyramid and, for the segmentation, the sizes of its segments."""

    name = "precomputed"
    summary = "A precomputed volume of Neuroglancer: the segmentation, or another array."
    options = ("arrays", "levels", "compact_ids", "min_voxels")
    default_arrays = DEFAULT
    stages = (
        *NUMBERING,
        SEGMENT_SIZES,
        *stages_of_arrays(PrecomputedStage, "precomputed", "its scales"),
    )

    def plan(self, job: ExportJob) -> list[Task]:
        """The numbering if ids are compact, the sizes of segments, and the scales."""
        return [task for task in super().plan(job) if task.stage != SEGMENT_SIZES.name or self._has_sizes(job)]

    def _has_sizes(self, job: ExportJob) -> bool:
        return [array.name for array in self.chosen(job)] == ["segmentation"]

    def check(self, job: ExportJob) -> None:
        """Refuse several arrays, and types that the format does not have.

        Raises:
            InputError: see above.
        """
        array, *others = self.chosen(job)
        if others:
            expected = "one array, since a precomputed volume holds one"
            raise InputError("--array", list(job.options.arrays), expected, "export each to a folder of its own")
        if job.options.min_voxels and not self._has_sizes(job):
            expected = f"no such option for {array.name}: only segments get properties"
            raise InputError("--min-voxels", job.options.min_voxels, expected, "leave it out")
        if array.dtype(job) not in DTYPES:
            expected = f"voxels of one of the types {', '.join(DTYPES)}"
            raise InputError("--array", f"{array.name} ({array.dtype(job)})", expected, "export ome-zarr")

    def begin(self, job: ExportJob) -> None:
        """Write the file `info`."""
        layout, offset = layout_of(job, self.chosen(job)[0]), voxel_offset(job)
        scales, more = [], {"segment_properties": PROPERTIES} if self._has_sizes(job) else {}
        for level in scales_of(job):
            frame = level.frame(job.frame)
            place = vector(np.floor_divide(offset, level.factor))
            scales.append(layout.scale(key_of(frame), level.shape, frame, place))
        write_json(job.target / "info", layout.info(scales) | more)
        self.requeue_lost(job)

    def finish(self, job: ExportJob) -> list[str]:
        """Say what was written."""
        lines, count = super().finish(job), len(scales_of(job))
        array = self.chosen(job)[0]
        lines.append(f"{array.name}: precomputed://file://{job.target.absolute()} ({count} scales)")
        if self._has_sizes(job):
            number = write_properties(job)
            lines.append(f"segment properties: the sizes of {number} segments")
            if number > MANY_SEGMENTS:
                lines.append("the properties are one JSON file, slow to open with so many: see --min-voxels")
        wanted = len(levels_of(job.bounds.shape, job.frame, job.options.levels))
        if count < wanted:
            lines.append(
                f"{wanted - count} coarser scales are left out: a scale is placed by whole voxels, and the "
                f"offset {list(job.frame.offset)} nm is no multiple of theirs; ome-zarr has no such limit"
            )
        return lines


FORMAT = Precomputed()
