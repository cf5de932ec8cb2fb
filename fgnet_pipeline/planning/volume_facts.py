"""What can be seen of a volume from its metadata and from few fixed positions, before there is a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import VolumeConfig
from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.core.geometry import Box, Vector, vector, whole
from fgnet_pipeline.kernels.grey import BLACK, WHITE
from fgnet_pipeline.kernels.padding import without_padding
from fgnet_pipeline.planning.blank_sections import BlankSections, blank_sections
from fgnet_pipeline.planning.no_volume import FIELD, ImportNeededError, refuse_no_grey, refuse_no_volume
from fgnet_pipeline.stages.model_choice import ModelFacts
from fgnet_pipeline.store.arrays import open_array, readable
from fgnet_pipeline.store.chunk_names import require_stored, stored_positions
from fgnet_pipeline.store.foreign_formats import foreign_format, is_imported
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.group_arrays import arrays_below
from fgnet_pipeline.store.input_identity import CUBE, sample
from fgnet_pipeline.store.stored_share import StoredShare
from fgnet_pipeline.store.volume import Volume, open_volume

#: Fewer sampled voxels of tissue than this say nothing of the grey values.
FEW_VOXELS = 2000
#: Stored chunks of which a cube is read, if the fixed positions hit no tissue.
CHUNKS_READ = 64
#: Stored chunks among which these are chosen.
CHUNKS_LISTED = 4096
#: End of the names of formats that hold one section.
PICTURE = "picture"
#: Arrays that a run writes.
OWN = {"fragments", "segmentation"}


@dataclass(frozen=True)
class VolumeFacts:
    """A volume, as it was seen.

    Attributes:
        path: folder or URL of the array.
        chosen: why this array of a group was taken; None if the user named the array.
        shape: voxels, zyx.
        dtype: of the values.
        frame: voxel size and offset; None if nothing states a voxel size.
        voxel_size_from: what states the voxel size.
        chunk: voxels of a chunk, zyx: of the shard, if the array has shards.
        values: smallest and largest of the sampled values.
        grey: raw values below which 0.5 % and above which 0.5 % of the sampled tissue lie.
        sampled: values of the sampled voxels, raw (n,), row after row.
        at_chunks: whether the fixed positions hit no tissue, so that `sampled` comes from chunks that are stored.
        stored: how much of the array is stored.
        middle: a voxel, zyx, in whose surroundings voxels are stored: the middle, if nothing is missing.
        blank: sections of one value.
    """

    path: str
    chosen: str | None
    shape: Vector
    dtype: str
    frame: Frame | None
    voxel_size_from: str
    chunk: Vector
    values: tuple[int, int]
    grey: tuple[int, int]
    sampled: npt.NDArray[Any]
    at_chunks: bool
    stored: StoredShare
    middle: Vector
    blank: BlankSections

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return whole(self.shape).size

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        size, offset = (None, None) if self.frame is None else (self.frame.voxel_size, self.frame.offset)
        return {
            "path": self.path,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "voxel_size": None if size is None else list(size),
            "voxel_size_from": self.voxel_size_from,
            "offset": None if offset is None else list(offset),
            "chunk_shape": list(self.chunk),
            "values": list(self.values),
            "grey": list(self.grey),
            "stored_share": self.stored.share,
            "sections_looked_at": self.blank.looked_at,
            "blank_sections": list(self.blank.sections),
        }


def volume_facts(path: str, given: VolumeConfig, models: Iterable[ModelFacts]) -> VolumeFacts:
    """Look at a volume.

    Args:
        path: a Zarr array, or a group that holds one or is a pyramid; folder or URL.
        given: keys that the user has set: `voxel_size`, `offset` and `axes` override the metadata.
        models: of a pyramid, the first level that fits one of them is taken.

    Raises:
        InputError: no volume; the sentence says what was seen.
        ImportNeededError: a volume that `fgnet import` can convert.
    """
    volume, chosen = _opened(path, given, list(models))
    try:
        require_stored(volume.array, volume.path, FIELD, "a volume")
        stored = volume.stored
        values = sample(volume.shape, volume.read, FIELD)
        tissue, middle, at_chunks = without_padding(values), _middle(whole(volume.shape)), False
        if stored.share < 1 and (len(tissue) < FEW_VOXELS or not np.ptp(tissue)):
            values, middle = _sampled_at_chunks(volume)
            tissue, at_chunks = without_padding(values), True
    except StoreError as error:
        raise InputError(FIELD, path, "an answer of the store", str(error)) from error
    refuse_no_grey(volume.path, values, tissue)
    low, high = (int(v) for v in np.percentile(tissue, (BLACK, WHITE), method="nearest"))
    frame, source = volume.frame, volume.sources.voxel_size
    storage = volume.array.shards or volume.array.chunks
    return VolumeFacts(
        volume.path, chosen, volume.shape, str(volume.dtype), frame, source,
        vector([storage[axis] for axis in volume.order]), (int(values.min()), int(values.max())),
        (low, max(high, low + 1)), values, at_chunks, stored, middle, blank_sections(volume),
    )  # fmt: skip


def _opened(path: str, given: VolumeConfig, models: list[ModelFacts]) -> tuple[Volume, str | None]:
    """The volume at a path, and why it was chosen if the path is that of a group."""
    try:
        array = open_array(path, FIELD)
    except InputError as error:
        names = arrays_below(path, FIELD)
        if names:
            return _chosen(path, names, given, models)
        kind = foreign_format(path)
        if kind is not None and is_imported(kind) and not kind.endswith(PICTURE):
            raise ImportNeededError(path, kind) from error
        raise _seen(path, error, kind) from error
    refuse_no_volume(path, array.shape, array.dtype)
    return _open(path, given), None


def _open(path: str, given: VolumeConfig) -> Volume:
    try:
        volume = open_volume(path, voxel_size=given.voxel_size, offset=given.offset, axes=given.axes)
    except InputError as error:
        if error.field != "volume.path":
            raise
        raise InputError(FIELD, error.value, error.expected, error.remedy) from error
    refuse_no_volume(path, volume.shape, volume.dtype)
    return replace(volume, field=FIELD)


def _seen(path: str, error: InputError, kind: str | None) -> InputError:
    """The sentence about a path that holds neither an array nor a group with arrays."""
    expected = "a volume: a Zarr array, or what `fgnet import` converts (HDF5, TIFF, N5, precomputed)"
    if kind is None:
        return error
    if kind.endswith(PICTURE):
        return InputError(FIELD, f"{path} (a single {kind})", expected, "put all sections into one folder and name it")
    return InputError(FIELD, f"{path} ({kind})", expected, "name the volume itself, or convert it to one of these")


def _chosen(path: str, names: list[str], given: VolumeConfig, models: list[ModelFacts]) -> tuple[Volume, str]:
    """The array of a group that is the volume, and why."""
    opened = {name: volume for name in names if (volume := _candidate(f"{path.rstrip('/')}/{name}", given))}
    if not opened:
        refuse_no_volume(f"{path.rstrip('/')}/{names[0]}", *_described(f"{path.rstrip('/')}/{names[0]}"))
        return _open(f"{path.rstrip('/')}/{names[0]}", given), ""  # which says why it is no volume
    if len(opened) == 1:
        return next(iter(opened.values())), f"the one volume of the group {path}"
    raw = [name for name in opened if name.rpartition("/")[2] == "raw"]
    if len(raw) == 1:
        return opened[raw[0]], f"the array named raw of the group {path}"
    if set(opened) >= OWN:
        found = f"{path}, the output of a run"
        raise InputError(FIELD, found, "a raw volume", "name the raw volume; fgnet status and fgnet report show a run")
    if all(volume.sources.voxel_size.startswith("OME-Zarr") for volume in opened.values()):
        return _level(opened, models)
    expected = f"one volume, but this group has several: {', '.join(opened)}"
    raise InputError(FIELD, path, expected, f"name one of them, e.g. {path.rstrip('/')}/{next(iter(opened))}")


def _described(path: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    array = open_array(path, FIELD)
    return array.shape, np.dtype(array.dtype)


def _candidate(path: str, given: VolumeConfig) -> Volume | None:
    try:
        return _open(path, given)
    except InputError:
        return None


def _level(levels: dict[str, Volume], models: list[ModelFacts]) -> tuple[Volume, str]:
    """The level of a pyramid whose voxels a shipped model was trained on; the finest level if there is none."""
    for name, volume in levels.items():
        for model in models:
            if volume.frame is not None and model.fits(volume.frame.voxel_size):
                return volume, f"level {name} of the pyramid: {model.name} was trained on such voxels"
    finest = next(iter(levels))
    return levels[finest], f"level {finest} of the pyramid, the finest; no shipped model fits any level"


def _sampled_at_chunks(volume: Volume) -> tuple[npt.NDArray[Any], Vector]:
    """Values (n,) of cubes in chunks that are stored, row after row, and the middle of one such chunk."""
    array = volume.array
    found = sorted(stored_positions(array, CHUNKS_LISTED))
    some = list(islice(found, 0, None, max(1, len(found) // CHUNKS_READ)))[:CHUNKS_READ]
    shape = array.shards or array.chunks
    boxes = []
    for index in some:
        begin = vector([index[axis] * shape[axis] for axis in volume.order])
        size = [shape[axis] for axis in volume.order]
        boxes.append(Box(begin, vector(np.add(begin, size))).intersect(whole(volume.shape)))
    if not boxes:
        return np.zeros(0, volume.dtype), _middle(whole(volume.shape))
    with readable(volume.path, FIELD):
        parts = [volume.read(cube).ravel() for box in boxes for cube in _cubes(box)]
    return np.concatenate(parts), _middle(boxes[len(boxes) // 2])


def _cubes(box: Box) -> list[Box]:
    """Three cubes on the diagonal of a box."""
    cubes = []
    for part in (0.25, 0.5, 0.75):
        room = np.maximum(np.subtract(box.shape, CUBE), 0)
        begin = np.add(box.begin, (room * part).astype(np.int64))
        cubes.append(Box(vector(begin), vector(np.add(begin, CUBE))).intersect(box))
    return cubes


def _middle(box: Box) -> Vector:
    return vector(np.add(box.begin, box.end) // 2)
