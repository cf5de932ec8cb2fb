"""The arrays of a result, as exports read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.exports.format import Options
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import Kind
from fgnet_pipeline.exports.written_ids import id_dtype
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.known_inputs import sampled_identity
from fgnet_pipeline.store.input_identity import identity, sample


@dataclass(frozen=True)
class ResultArray:
    """An array that can be exported.

    Attributes:
        name: `--array` takes it.
        kind: what voxels are ids of (uint64, 0 = background); None for an image.
        task: the task of the run that completes it; None if it is an input.
        read: gives the voxels (z, y, x) or (C, z, y, x) of a box, of a job of the result.
    """

    name: str
    kind: Kind | None
    task: str | None
    read: Callable[[Job, Box], npt.NDArray[Any]]

    @property
    def is_label(self) -> bool:
        """Whether voxels are ids."""
        return self.kind is not None

    def exists(self, job: Job) -> bool:
        """Whether the result has this array."""
        return self.name != "raw" or job.raw is not None

    def channels(self, job: Job) -> tuple[int, ...]:
        """`(C,)`, or `()` if there is no channel axis."""
        return () if self.name != "affinities" else (_channels(job),)

    def dtype(self, job: ExportJob) -> str:
        """Of the voxels as they are exported."""
        if self.is_label:
            return id_dtype(job, job.options.compact_ids)
        return str(job.source.raw.dtype) if self.name == "raw" and job.source.raw is not None else "uint8"

    def upstream(self, job: Job) -> tuple[str, ...]:
        """The tasks of the run whose output is read."""
        task = None if self.name == "affinities" and job.affinities is not None else self.task
        return () if task is None else (task,)

    def identity(self, job: Job) -> dict[str, Any]:
        """The identity of an input array as it is now; empty if a task of the run makes the array."""
        if self.upstream(job):
            return {}
        if self.name == "affinities":
            return {"input": sampled_identity(job, "affinities")}
        values = sample(job.bounds.shape, lambda box: self.read(job, box), "volume.path")
        return {"input": identity(job.bounds.shape, values)}


def _channels(job: Job) -> int:
    return job.affinities.channels if job.affinities is not None else len(job.neighbourhood)


def _read_raw(job: Job, box: Box) -> npt.NDArray[Any]:
    assert job.raw is not None  # `chosen_arrays` refuses a result without raw
    return job.raw.read(box)


ARRAYS = {
    each.name: each
    for each in (
        ResultArray("raw", None, None, _read_raw),
        ResultArray("affinities", None, "predict", Job.read_affinities),
        ResultArray("fragments", "fragments", "fragments", Job.read_tissue_fragments),
        ResultArray("segmentation", "segments", "relabel", Job.read_segmentation),
    )
}


def chosen_arrays(job: Job, options: Options, default: tuple[str, ...]) -> list[ResultArray]:
    """The arrays to export, in the order of the data flow.

    Args:
        job: of the result.
        options: of the export.
        default: names of the arrays to export if the user names none; those that the result lacks are left out.

    Raises:
        InputError: an unknown array, or one that the result does not have.
    """
    for name in options.arrays:
        if name not in ARRAYS:
            raise InputError("--array", name, f"one of {', '.join(ARRAYS)}", "choose one of them")
        if not ARRAYS[name].exists(job):
            raise InputError("--array", name, "an array of this result, which was made from affinities alone",
                             "choose another array")  # fmt: skip
    wanted = options.arrays or tuple(name for name in default if ARRAYS[name].exists(job))
    return [array for name, array in ARRAYS.items() if name in wanted]
