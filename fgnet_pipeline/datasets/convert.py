"""Converts opened sources to a Zarr group of `raw` (uint8) and `labels` (uint64), zyx, block by block.

Memory: one block of raw or labels, however large the volume is (16 whole sections if sections cannot be read in part).
Labels take the grid of raw, at the voxel that their offset gives. Voxels outside the labels are 0 and take no space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, vector, whole
from fgnet_pipeline.datasets.presets import Preset, check_shape, preset_of
from fgnet_pipeline.datasets.source import Size, Source
from fgnet_pipeline.datasets.understood import check_range, described, sampled_values, signedness, summarized
from fgnet_pipeline.kernels.grey import to_grey
from fgnet_pipeline.kernels.labels import known_labels
from fgnet_pipeline.store.group_writer import GroupWriter
from fgnet_pipeline.store.volume import Frame

FORMAT = "fgnet-import-1"
#: Told the number of voxels read so far, and of all voxels to read.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Conversion:
    """A conversion that has been checked; nothing is written yet.

    Attributes:
        raw: source of the grey values.
        labels: source of the ids; None if there are none.
        frame: voxel size and offset of raw, and therefore of the labels.
        labelled: the box, in voxels of raw, that the labels cover.
        splits: name -> box in voxels of raw.
        value_range: raw values that become 0 and 255; None keeps uint8 values as they are.
        preset: name of the published volume; None for any other.
        understood: per name of an array, what was understood of its source, for JSON.
    """

    raw: Source
    labels: Source | None
    frame: Frame
    labelled: Box | None = None
    splits: dict[str, Box] = field(default_factory=dict)
    value_range: tuple[float, float] | None = None
    preset: str | None = None
    understood: dict[str, Any] = field(default_factory=dict)

    @property
    def voxels(self) -> int:
        """Number of voxels that have to be read."""
        return whole(self.raw.shape).size + (self.labelled.size if self.labelled else 0)

    def describe(self) -> dict[str, Any]:
        """What will be written, for JSON and as attributes of the group."""
        return {
            "format": FORMAT,
            "source": {"raw": self.raw.path, "labels": self.labels.path if self.labels else None},
            "preset": self.preset,
            "preset_source": preset_of(self.preset).source if self.preset else None,
            "shape": list(self.raw.shape),
            "voxel_size_nm": list(self.frame.voxel_size),
            "offset_nm": list(self.frame.offset),
            "labelled": self.labelled.to_list() if self.labelled else None,
            "splits": {name: box.to_list() for name, box in self.splits.items()},
            "understood": self.understood,
        }


def plan(
    raw: Source,
    labels: Source | None,
    *,
    voxel_size: Size | None = None,
    offset: Size | None = None,
    labels_offset: Size | None = None,
    value_range: tuple[float, float] | None = None,
    preset: str | None = None,
    unsigned: bool | None = None,
) -> Conversion:
    """Check that the sources fit each other and the preset. Sizes given here override those that the sources state.

    A sample of the values of all sources is read.

    Args:
        raw: source of the grey values.
        labels: source of the ids; None if there are none.
        voxel_size: nm, zyx.
        offset: nm, zyx, of raw.
        labels_offset: nm, zyx, of the labels.
        value_range: raw values that become 0 and 255.
        preset: a name of `fgnet_pipeline.datasets.presets.PRESETS`.
        unsigned: whether signed integers of raw are to be read as unsigned ones; None if the user did not say.

    Raises:
        InputError: an unknown voxel size, raw that is not uint8 without a range, a range that does not fit the values,
            labels that are no integers or lie off the grid of raw or outside it, shapes that are not those of the
            preset, values that cannot be read.
    """
    known = preset_of(preset) if preset else None
    if raw.dtype.kind not in "uif":
        raise InputError("--raw", f"{raw.path} of {raw.dtype}", "grey values", "name another dataset")
    raw = signedness(raw, unsigned)
    frame = frame_of_source(raw, voxel_size, offset, known)
    labelled = _placed(raw, labels, frame, labels_offset, voxel_size is not None) if labels else None
    splits = {}
    if known and preset:
        check_shape(preset, "--raw", raw.shape, known.raw)
        if labels:
            check_shape(preset, "--labels", labels.shape, known.labels)
        splits = _splits(known, labelled or whole(raw.shape))
    values = summarized(sampled_values(raw, "--raw"))
    check_range(raw, values, value_range, unsigned)
    understood = {"raw": described(raw, values, frame.voxel_size, frame.offset)}
    if labels and labelled:
        corner = place_of(labelled, frame)
        ids = summarized(sampled_values(labels, "--labels"))
        understood["labels"] = described(labels, ids, frame.voxel_size, corner)
    return Conversion(raw, labels, frame, labelled, splits, value_range, preset, understood)


def convert(job: Conversion, output: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write the group; an interrupted or failed conversion leaves nothing behind.

    Args:
        job: what `plan` has checked.
        output: path of the group.
        progress: told how far the conversion is.

    Returns:
        `Conversion.describe`, `nan_voxels` if raw is of floats, and `labelled_voxels` if there are labels.

    Raises:
        InputError: something lies at `output`, a source cannot be decoded, or all labels are 0.
    """
    done = 0

    def tell(box: Box) -> None:
        nonlocal done
        done += box.size
        if progress is not None:
            progress(done, job.voxels)

    summary = job.describe()
    with GroupWriter(output, summary) as writer:
        missing = _copy_raw(writer, job, tell)
        if job.raw.dtype.kind == "f":
            summary["nan_voxels"] = missing
            writer.set_attributes({"nan_voxels": missing})
        if job.labels is not None:
            count = _copy_labels(writer, job, tell)
            summary["labelled_voxels"] = count
            writer.set_attributes({"labelled_voxels": count})
    return summary


def _copy_raw(writer: GroupWriter, job: Conversion, tell: Callable[[Box], None]) -> int:
    """Copy raw; returns the number of voxels that are NaN, which become 0."""
    target, missing = writer.array("raw", job.raw.shape, "uint8", job.frame, job.raw.by_section), 0
    for box in target.blocks():
        values = job.raw.read(box)
        if values.dtype.kind == "f":
            lost = np.isnan(values)
            missing += int(np.count_nonzero(lost))
            values = np.where(lost, job.value_range[0] if job.value_range else 0, values)
        target.write(box, to_uint8(values, job.value_range))
        tell(box)
    return missing


def _copy_labels(writer: GroupWriter, job: Conversion, tell: Callable[[Box], None]) -> int:
    """Copy the labels; returns the number of voxels that have one."""
    assert job.labels is not None and job.labelled is not None
    target = writer.array("labels", job.raw.shape, "uint64", job.frame, job.labels.by_section)
    begin, count = job.labelled.begin, 0
    for box in target.blocks(job.labelled):
        here = Box(vector(np.subtract(box.begin, begin)), vector(np.subtract(box.end, begin)))
        ids = to_ids(job.labels.read(here), job.labels.path)
        count += int(np.count_nonzero(ids))
        target.write(box, ids)
        tell(box)
    if not count:
        raise InputError("--labels", job.labels.path, "a label other than 0", "check the file and its dataset")
    return count


def to_uint8(values: NDArray[Any], value_range: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Raw values as grey values.

    Args:
        values: (z, y, x) of any dtype; uint8 if there is no range.
        value_range: the values that become 0 and 255; values outside it become 0 or 255.

    Returns:
        uint8 (z, y, x).
    """
    if value_range is None:
        return values.astype(np.uint8, copy=False)
    return np.rint(to_grey(values, value_range)).astype(np.uint8)


def to_ids(values: NDArray[Any], path: str) -> NDArray[np.uint64]:
    """Labels as uint64. Ids of voxels without ground truth become 0 (`fgnet_pipeline.kernels.labels`).

    Args:
        values: integers (z, y, x).
        path: of the source, to name in errors.

    Raises:
        InputError: an id below -3.
    """
    return known_labels(values, "--labels", path)


def frame_of_source(raw: Source, voxel_size: Size | None, offset: Size | None, preset: Preset | None = None) -> Frame:
    """The place of a source in the world.

    Args:
        raw: the source.
        voxel_size: nm, zyx; overrides that of the source.
        offset: nm, zyx; overrides that of the source.
        preset: gives the voxel size if nothing else does.

    Raises:
        InputError: no voxel size, one that is not that of the preset, or numbers that are not finite.
    """
    stated = voxel_size or raw.voxel_size
    if preset and stated and not np.allclose(stated, preset.voxel_size, rtol=0.05):
        expected = f"about {list(preset.voxel_size)} nm, as the preset has"
        raise InputError("--voxel-size", list(stated), expected, "correct it, or leave out --preset")
    size = stated or (preset.voxel_size if preset else None)
    if size is None:
        notes = "".join(f"; {note}" for note in raw.notes)
        expected = f"nm as z,y,x: the source states none{notes}"
        raise InputError("--voxel-size", "not given", expected, "e.g. --voxel-size 40,4,4")
    if not (np.isfinite(size).all() and min(size) > 0):
        raise InputError("--voxel-size", list(size), "three numbers above 0", "correct it")
    corner = offset or raw.offset or (0.0, 0.0, 0.0)
    if not np.isfinite(corner).all():
        raise InputError("--offset", list(corner), "three finite numbers", "correct it")
    return Frame(size, corner)


def _placed(raw: Source, labels: Source, frame: Frame, given: Size | None, overridden: bool) -> Box:
    """The box of raw that the labels cover. If the voxel size is overridden, that of the labels is not needed."""
    if labels.dtype.kind not in "ui":
        raise InputError("--labels", f"{labels.path} of {labels.dtype}", "integers, one id an object", "convert them")
    try:
        stated = labels.voxel_size
    except InputError:
        if not overridden:
            raise
        stated = None
    if stated and not np.allclose(stated, frame.voxel_size, rtol=1e-3):
        expected = f"the voxel size of raw, {list(frame.voxel_size)} nm"
        raise InputError("--labels", f"{list(stated)} nm", expected, "resample them, or correct --voxel-size")
    offset = given or labels.offset
    if offset is not None and not np.isfinite(offset).all():
        raise InputError("--labels-offset", list(offset), "three finite numbers", "correct it")
    if offset is None and labels.shape != raw.shape:
        expected = f"an offset, since {list(labels.shape)} voxels do not cover the {list(raw.shape)} of raw"
        raise InputError("--labels-offset", "not given", expected, "give it in nm, e.g. --labels-offset 1480,3644,3644")
    shift = np.subtract(offset or frame.offset, frame.offset) / np.asarray(frame.voxel_size)
    if not np.allclose(shift, np.rint(shift), atol=0.01):
        expected = "a whole number of voxels away from raw"
        raise InputError("--labels-offset", list(offset or ()), expected, "correct it")
    begin = vector(np.rint(shift))
    box = Box(begin, vector(np.add(begin, labels.shape)))
    if not whole(raw.shape).contains(box):
        expected = f"a box inside raw, {list(raw.shape)} voxels"
        raise InputError("--labels", f"voxels {box.to_list()} of raw", expected, "correct offsets or crop the labels")
    return box


def place_of(box: Box, frame: Frame) -> Size:
    """Position in nm, zyx, of the corner of a box of voxels."""
    z, y, x = (float(v) for v in np.multiply(box.begin, frame.voxel_size) + frame.offset)
    return z, y, x


def _splits(preset: Preset, labelled: Box) -> dict[str, Box]:
    boxes = {}
    for name, (first, last) in preset.splits.items():
        low = labelled.begin[0]
        begin = (low + first, *labelled.begin[1:])
        boxes[name] = Box(vector(begin), vector((min(low + last, labelled.end[0]), *labelled.end[1:])))
    return boxes
