"""The inputs of a job as they were read: shape, axes, voxel size, offset, type, range, and the share that is stored.

`fgnet plan` and `fgnet run` print it, so that a wrong statement in a file, or one that nobody made, is seen before
hours are spent on it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.lab_affinities import LabAffinities
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.stored_share import StoredShare, stored_share
from fgnet_pipeline.store.volume import Sources, Volume


@dataclass(frozen=True)
class InputUnderstood:
    """One input array, as it is read. These are keys of `fgnet plan --json`.

    Attributes:
        key: the configuration key that names it.
        path: folder or URL.
        shape: voxels, zyx; with the number of channels in front of it for affinities.
        axes: names of the stored axes, in their order; `-` marks an axis of length 1 that is not read.
        axes_from: what states the axes.
        dtype: type of the stored values.
        voxel_size: nm, zyx; None if nothing states it.
        voxel_size_from: what states the voxel size.
        offset: nm, zyx, of the corner of voxel 0; None if there is no voxel size.
        offset_from: what states the offset.
        range: the raw values of black and white; None if values are taken as they are.
        stored: how much of the array is stored: `kind`, `total`, `looked_at`, `found`.
        stored_share: in [0, 1]; an estimate unless all chunks were looked at.
        offsets: of affinities, one per channel, and whether the array states them; None for other inputs.
    """

    key: str
    path: str
    shape: list[int]
    axes: list[str]
    axes_from: str
    dtype: str
    voxel_size: list[float] | None
    voxel_size_from: str
    offset: list[float] | None
    offset_from: str
    range: list[float] | None
    stored: dict[str, Any]
    stored_share: float
    offsets: str | None = None

    def __str__(self) -> str:
        """One line for people."""
        size, offset = (None if v is None else ",".join(f"{n:.10g}" for n in v) for v in (self.voxel_size, self.offset))
        place = "no voxel size stated" if size is None else (
            f"voxels of {size} nm ({self.voxel_size_from}), offset {offset} nm ({self.offset_from})"
        )  # fmt: skip
        grey = "" if self.range is None else f", {self.range[0]:.10g} is black and {self.range[1]:.10g} is white"
        offsets = "" if self.offsets is None else f", offsets {self.offsets}"
        return (
            f"{self.key}: {'x'.join(map(str, self.shape))} voxels, stored as {','.join(self.axes)} ({self.axes_from}), "
            f"{self.dtype}{grey}{offsets}, {place}, {StoredShare(**self.stored)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def inputs_understood(job: Job) -> list[InputUnderstood]:
    """Every input array of a job, as it is read.

    Raises:
        InputError: an object store refuses or does not answer.
    """
    config, found = job.config, []
    if job.raw is not None:
        limits = config.volume.range
        found.append(_of_volume("volume.path", job.raw, job.frame, None if limits is None else list(limits)))
    if job.affinities is not None:
        found.append(_of_affinities(job.affinities))
    if job.fragments is not None:
        found.append(_of_volume("fragments.path", job.fragments, job.fragments.frame, None))
    if job.mask is not None:
        volume = job.mask.volume
        frame = None if volume.frame is None else volume.frame.seen_from(job.frame)
        found.append(_of_volume("volume.mask", volume, frame, None))
    return found


def _of_volume(key: str, volume: Volume, frame: Frame | None, limits: list[float] | None) -> InputUnderstood:
    axes = ["-"] * volume.array.ndim
    for name, axis in zip("zyx", volume.order, strict=True):
        axes[axis] = name
    return _understood(key, volume.path, volume.array, list(volume.shape), axes, frame, volume.sources, limits)


def _of_affinities(given: LabAffinities) -> InputUnderstood:
    axes = ["c"] * 4
    for name, axis in zip("zyx", given.order, strict=True):
        axes[axis] = name
    shape = [given.channels, *given.shape]
    found = _understood("affinities.path", given.path, given.array, shape, axes, given.frame, Sources(), None)
    offsets = ", ".join(str(list(offset)) for offset in given.neighbourhood)
    stated = "read as stated" if given.stated else "not stated, taken as ours"
    return replace(found, offsets=f"{offsets} ({stated})")


def _understood(
    key: str,
    path: str,
    array: Any,
    shape: list[int],
    axes: list[str],
    frame: Frame | None,
    sources: Sources,
    limits: list[float] | None,
) -> InputUnderstood:
    try:
        stored = stored_share(array)
    except StoreError as error:
        raise InputError(key, path, "an answer of the store", str(error)) from error
    return InputUnderstood(
        key, path, shape, axes, sources.axes, str(array.dtype),
        None if frame is None else list(frame.voxel_size), sources.voxel_size,
        None if frame is None else list(frame.offset), sources.offset,
        limits, asdict(stored), stored.share,
    )  # fmt: skip
