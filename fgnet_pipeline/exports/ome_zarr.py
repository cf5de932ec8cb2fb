"""Format ome-zarr: a pyramid of OME-Zarr 0.5 (Zarr v3).

The root is the image of raw; with affinities but without raw, it is the image of the affinities. Labels lie in the
group `labels` below the root. If no image is exported, the root itself is the group of labels, which another tool can
put below an image of its own. Source: https://ngff.openmicroscopy.org/0.5/.

A translation of OME-Zarr is the centre of voxel 0, and our offset is its corner. So level n with voxels of s nm has the
translation offset + s / 2. Beside this, every array has our own attributes, which state the corner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.exports.arrays import ResultArray, chosen_arrays
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.levels import Level, levels_of
from fgnet_pipeline.exports.numbering import NUMBERING
from fgnet_pipeline.exports.pyramid import PyramidFormat, PyramidStage, stages_of_arrays
from fgnet_pipeline.store.arrays import storage_shapes
from fgnet_pipeline.store.pyramid_arrays import LevelStore, make_level, write_group

VERSION = "0.5"
DEFAULT = ("raw", "segmentation")
LABELS = "labels"


def stored_shapes(job: ExportJob) -> tuple[Vector, Vector, Vector]:
    """Shapes of block, shard and chunk of every level, in voxels of the level, zyx."""
    config = job.config
    base = config.schedule.block_shape_of("relabel")
    shard, chunk = storage_shapes(base, config.output.shard_shape, config.output.chunk_shape, "relabel")
    return vector(np.multiply(base, np.where(np.mod(base, 2), 2, 1))), shard, chunk


def path_of(job: ExportJob, array: ResultArray) -> str:
    """The group of an array below the root; empty if it is the root."""
    images = [each for each in chosen_arrays(job.source, job.options, DEFAULT) if not each.is_label]
    if array.is_label:
        return f"{LABELS}/{array.name}" if images else array.name
    return "" if array == images[0] else array.name


class OmeStage(PyramidStage):
    """The levels of one array."""

    default_arrays = DEFAULT

    def block_shape(self, job: ExportJob) -> Vector:
        """The block of the stage relabel, doubled along axes along which it is odd."""
        return stored_shapes(job)[0]

    def layout(self, job: ExportJob) -> Mapping[str, Any]:
        """Shapes of shards and chunks."""
        _, shard, chunk = stored_shapes(job)
        return {"shard_shape": list(shard), "chunk_shape": list(chunk)}

    def levels(self, job: ExportJob) -> list[Level]:
        """The levels that `--levels` asks for."""
        return levels_of(job.bounds.shape, job.frame, job.options.levels)

    def open_level(self, job: ExportJob, level: Level) -> LevelStore:
        """Open the array of a level."""
        path = f"{path_of(job, self.exported)}/{level.number}".lstrip("/")
        return LevelStore(job.target, path, job.config.schedule.threads)


class OmeZarr(PyramidFormat):
    """A multiscale pyramid in OME-Zarr."""

    name = "ome-zarr"
    summary = "An OME-Zarr 0.5 pyramid of raw and segmentation, or of other arrays."
    options = ("arrays", "levels", "compact_ids")
    default_arrays = DEFAULT
    stages = (*NUMBERING, *stages_of_arrays(OmeStage, "ome-zarr", "its levels"))

    def begin(self, job: ExportJob) -> None:
        """Make all groups and arrays."""
        for path, attributes in self._groups(job):
            write_group(job.target, path, attributes)
        _, shard, chunk = stored_shapes(job)
        for array in self.chosen(job):
            for level in levels_of(job.bounds.shape, job.frame, job.options.levels):
                make_level(
                    job.target,
                    f"{path_of(job, array)}/{level.number}".lstrip("/"),
                    shape=(*array.channels(job.source), *level.shape),
                    dtype=array.dtype(job),
                    shard=shard,
                    chunk=chunk,
                    frame=level.frame(job.frame),
                    attributes=_own_attributes(job, array),
                )
        self.requeue_lost(job)

    def finish(self, job: ExportJob) -> list[str]:
        """Say where each array lies."""
        count = len(levels_of(job.bounds.shape, job.frame, job.options.levels))
        lines = super().finish(job)
        for array in self.chosen(job):
            path = f"{job.to}/{path_of(job, array)}".rstrip("/")
            lines.append(f"{array.name}: {path} ({count} level{'s' if count > 1 else ''})")
        if job.source.raw is None and not job.options.arrays:
            lines.append("raw: not written, since the result was made from affinities alone")
        return lines

    def _groups(self, job: ExportJob) -> Iterator[tuple[str, dict[str, Any]]]:
        """(path, attributes) of every group, parents first."""
        arrays = self.chosen(job)
        labels = [array.name for array in arrays if array.is_label]
        images = [array for array in arrays if not array.is_label]
        for array in images:
            yield path_of(job, array), {"ome": {"version": VERSION, "multiscales": [_multiscale(job, array)]}}
        if labels:
            yield LABELS if images else "", {"ome": {"version": VERSION, "labels": labels}}
        for array in arrays:
            if array.is_label:
                # ome-zarr-models 1.6 does not accept that the optional `colors` are left out.
                image_label: dict[str, Any] = {"colors": [], **({"source": {"image": "../../"}} if images else {})}
                ome = {"version": VERSION, "multiscales": [_multiscale(job, array)], "image-label": image_label}
                yield path_of(job, array), {"ome": ome}


def _multiscale(job: ExportJob, array: ResultArray) -> dict[str, Any]:
    """The entry of `multiscales`."""
    channels = array.channels(job.source)
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if channels else []
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    datasets = []
    for level in levels_of(job.bounds.shape, job.frame, job.options.levels):
        frame = level.frame(job.frame)
        centre = np.add(frame.offset, np.divide(frame.voxel_size, 2)).tolist()
        scale = {"type": "scale", "scale": [1.0] * len(channels) + list(frame.voxel_size)}
        translation = {"type": "translation", "translation": [0.0] * len(channels) + centre}
        datasets.append({"path": str(level.number), "coordinateTransformations": [scale, translation]})
    method = "mode" if array.is_label else "mean"
    return {"name": array.name, "type": method, "axes": axes, "datasets": datasets}


def _own_attributes(job: ExportJob, array: ResultArray) -> dict[str, Any]:
    if array.name != "affinities":
        return {}
    return {"neighbourhood": [list(offset) for offset in job.source.neighbourhood]}


FORMAT = OmeZarr()
