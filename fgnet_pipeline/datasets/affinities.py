"""Imports affinities of other programs: HDF5, Zarr, N5 or precomputed in, the project's array `affinities` out.

Here channel c at voxel v is the affinity of v and v + offset c, and the first three offsets are the nearest neighbours
below along z, y and x. Other programs name the same affinity at the other voxel of the pair: their channel of offset
+d at v is our channel of offset -d at v + d. Such channels are moved by d, and channels are put in our order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import NEAREST, Box, Vector, vector, whole
from fgnet_pipeline.datasets.convert import Progress, frame_of_source
from fgnet_pipeline.datasets.hdf5 import Hdf5Source
from fgnet_pipeline.datasets.open_source import guess
from fgnet_pipeline.datasets.source import Request, Source, foreign
from fgnet_pipeline.datasets.tensorstore_source import N5Source, PrecomputedSource
from fgnet_pipeline.datasets.understood import described, sampled_values, summarized
from fgnet_pipeline.datasets.zarr_source import ZarrChannels
from fgnet_pipeline.store.affinity_checks import check_values
from fgnet_pipeline.store.affinity_offsets import parse_offsets, stated_offsets
from fgnet_pipeline.store.group_writer import GroupWriter
from fgnet_pipeline.store.volume import Frame

FORMAT = "fgnet-import-affinities-1"
_REMEDY = "correct it, or give --neighbourhood"


class ChannelSource(Source, Protocol):
    """A `Source` whose `read` gives (c, z, y, x).

    Attributes:
        channels: C.
        attributes: of the array.
    """

    channels: int
    attributes: dict[str, Any]


READERS: dict[str, Callable[[Request], ChannelSource]] = {
    "hdf5": Hdf5Source,
    "zarr": ZarrChannels,
    "n5": N5Source,
    "precomputed": PrecomputedSource,
}


@dataclass(frozen=True)
class Channel:
    """One channel of the output.

    Attributes:
        source: number of the channel in the source.
        offset: the neighbour, zyx.
        shift: by how many voxels, zyx, it is moved: voxel v of the output is voxel v - shift of the source.
    """

    source: int
    offset: Vector
    shift: Vector = (0, 0, 0)


@dataclass(frozen=True)
class AffinityConversion:
    """An import that has been checked; nothing is written yet.

    Attributes:
        source: of the affinities.
        frame: voxel size and offset.
        channels: of the output.
        understood: of the source, for JSON.
    """

    source: ChannelSource
    frame: Frame
    channels: tuple[Channel, ...]
    understood: dict[str, Any] = field(default_factory=dict)

    @property
    def neighbourhood(self) -> list[list[int]]:
        """The offset of each channel of the output, zyx."""
        return [list(channel.offset) for channel in self.channels]

    def describe(self) -> dict[str, Any]:
        """What will be written, for JSON and as attributes of the group."""
        return {
            "format": FORMAT,
            "source": {"affinities": self.source.path},
            "shape": [len(self.channels), *self.source.shape],
            "voxel_size_nm": list(self.frame.voxel_size),
            "offset_nm": list(self.frame.offset),
            "neighbourhood": self.neighbourhood,
            "understood": {"affinities": self.understood},
        }


def open_affinities(request: Request, kind: str | None, neighbourhood: list[Vector] | None) -> ChannelSource:
    """Open affinities. If nothing names the axes, the length of the neighbourhood tells the axis of channels.

    Args:
        request: what to open.
        kind: a name of `READERS`; None guesses it.
        neighbourhood: given by the user; None if the source states it.

    Raises:
        InputError: the source cannot be opened, or it is not clear which axis holds the channels.
    """
    chosen = kind or guess(request)
    if chosen not in READERS:
        expected = f"affinities in one of {', '.join(READERS)}"
        raise InputError(request.field, request.path, expected, "convert them to HDF5 or Zarr")
    with foreign(request.field, request.path, f"affinities that the reader of {chosen} can open"):
        source = READERS[chosen](request)
        count = len(neighbourhood or _stated(source) or ())
        if request.axes or not count or source.channels == count:
            return source
        stored = (source.channels, *source.shape)
        if stored[-1] == count and chosen in ("hdf5", "zarr"):
            last = Request(request.path, request.field, request.dataset, request.scale, ("z", "y", "x", "c"))
            return READERS[chosen](last)
    value = f"{request.path} of shape {list(stored)} with {count} offsets"
    raise InputError(request.field, value, f"an axis of {count} channels", "name the axes, e.g. --axes z,y,x,c")


def plan_affinities(
    source: ChannelSource,
    neighbourhood: list[Vector] | None,
    *,
    voxel_size: tuple[float, float, float] | None = None,
    offset: tuple[float, float, float] | None = None,
) -> AffinityConversion:
    """Check affinities.

    Args:
        source: of the affinities.
        neighbourhood: one zyx step per channel of the source; None takes its attribute `neighbourhood` or `offsets`.
        voxel_size: nm, zyx; overrides that of the source.
        offset: nm, zyx; overrides that of the source.

    Raises:
        InputError: the neighbourhood is not known or does not fit, or the values are no affinities.
    """
    steps = neighbourhood or _stated(source)
    if steps is None:
        expected = "the neighbourhood: the source has no attribute neighbourhood or offsets"
        remedy = "give one z,y,x step per channel, e.g. --neighbourhood [[-1,0,0],[0,-1,0],[0,0,-1]]"
        raise InputError("--neighbourhood", "not given", expected, remedy)
    if len(steps) != source.channels:
        value = f"{len(steps)} offsets for {source.channels} channels"
        raise InputError("--neighbourhood", value, "one offset per channel", "correct it, or name the axes with --axes")
    channels = _arranged(steps, source.path)
    frame = frame_of_source(source, voxel_size, offset)
    values = sampled_values(source, "--affinities")
    check_values(values, "--affinities", source.path)
    understood = described(source, summarized(values), frame.voxel_size, frame.offset)
    return AffinityConversion(source, frame, channels, understood)


def convert_affinities(job: AffinityConversion, output: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write the group; an interrupted or failed conversion leaves nothing behind.

    Args:
        job: what `plan_affinities` has checked.
        output: path of the group.
        progress: told the number of voxels read so far, and of all voxels.

    Returns:
        `AffinityConversion.describe`.

    Raises:
        InputError: something lies at `output`, or the source cannot be decoded.
    """
    summary, bounds = job.describe(), whole(job.source.shape)
    dtype = str(np.dtype(job.source.dtype))
    attributes = {"neighbourhood": job.neighbourhood}
    with GroupWriter(output, summary) as writer:
        target = writer.channel_array("affinities", len(job.channels), job.source.shape, dtype, job.frame, attributes)
        done = 0
        for box in target.blocks():
            target.write(box, _block(job, box, bounds))
            done += box.size
            if progress is not None:
                progress(done, bounds.size)
    return summary


def _block(job: AffinityConversion, box: Box, bounds: Box) -> NDArray[Any]:
    """The values (C, z, y, x) of the output in a box. A moved channel is 0 where its neighbour is outside."""
    low = vector(np.min([np.negative(channel.shift) for channel in job.channels], axis=0))
    high = vector(np.max([np.negative(channel.shift) for channel in job.channels], axis=0))
    region = box.grow(vector(np.negative(low)), high).intersect(bounds)
    read = job.source.read(region)
    values = np.zeros((len(job.channels), *box.shape), read.dtype)
    for i, channel in enumerate(job.channels):
        wanted = Box(
            vector(np.subtract(box.begin, channel.shift)), vector(np.subtract(box.end, channel.shift))
        ).intersect(bounds)
        if wanted:
            placed = Box(vector(np.add(wanted.begin, channel.shift)), vector(np.add(wanted.end, channel.shift)))
            values[(i, *placed.slices(box.begin))] = read[(channel.source, *wanted.slices(region.begin))]
    return values


def _arranged(steps: list[Vector], path: str) -> tuple[Channel, ...]:
    """The channels of the output: the nearest neighbours below along z, y, x, then all others as they are."""
    first = []
    for wanted in NEAREST:
        opposite = vector(np.negative(wanted))
        if wanted in steps:
            first.append(Channel(steps.index(wanted), wanted))
        elif opposite in steps:
            first.append(Channel(steps.index(opposite), wanted, opposite))
        else:
            expected = f"the offset {list(wanted)} or {list(opposite)} among those of the channels"
            remedy = "the three nearest neighbours are needed: predict them, or correct --neighbourhood"
            raise InputError("--neighbourhood", f"{[list(s) for s in steps]} of {path}", expected, remedy)
    used = {channel.source for channel in first}
    return (*first, *(Channel(i, step) for i, step in enumerate(steps) if i not in used))


def _stated(source: ChannelSource) -> list[Vector] | None:
    """The neighbourhood that the attributes of a source state; None if they do not."""
    offsets = stated_offsets(source.attributes, "--affinities", source.path, _REMEDY)
    return None if offsets is None else _different(offsets, "--affinities", source.path)


def parse_neighbourhood(value: Any, option: str) -> list[Vector]:
    """One step per channel, zyx, from an option.

    Args:
        value: three whole numbers per channel, as a list or as JSON.
        option: to name in errors.

    Raises:
        InputError: no offsets, a step of 0, or a step that comes twice.
    """
    return _different(parse_offsets(value, option, str(value), _REMEDY), option, str(value))


def _different(offsets: list[Vector], option: str, what: str) -> list[Vector]:
    """The offsets, which must differ: the import writes one channel per offset."""
    if len(set(offsets)) != len(offsets):
        expected = "three whole numbers z,y,x per channel, each offset once"
        raise InputError(option, f"{what} with {[list(o) for o in offsets]}", expected, _REMEDY)
    return offsets
