"""Reads files as the commands do, and compares what was read with what is right."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lab_files.specimen import Rendered, Truth
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError, PipelineError
from fgnet_pipeline.core.geometry import Box, whole
from fgnet_pipeline.datasets.convert import plan
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request
from fgnet_pipeline.stages.input_checks import check_stored
from fgnet_pipeline.store.input_identity import sample
from fgnet_pipeline.store.volume import open_volume

#: Files that state more voxels than this are not read as a whole.
MOST_VOXELS = 10**7


@dataclass(frozen=True)
class Reading:
    """What a reader made of files.

    Attributes:
        sentence: of the error, if they were refused.
        bad_input: the error is an `InputError`.
        trace: traceback of any error that is none of ours.
        understood: what was understood: shape, dtype, voxel size and offset.
        voxels: (z, y, x).
    """

    sentence: str = ""
    bad_input: bool = False
    trace: str = ""
    understood: dict[str, Any] | None = None
    voxels: NDArray[Any] | None = None

    @property
    def refused(self) -> bool:
        """Whether one of our errors was raised."""
        return bool(self.sentence)


def read(files: Rendered, folder: Path) -> Reading:
    """Write the files and read them as `fgnet run` (Zarr) or `fgnet import` (all others) does."""
    path = files.write(folder)
    try:
        return _volume(files, path) if files.reader == "zarr" else _source(files, path)
    except PipelineError as error:
        return Reading(str(error), isinstance(error, InputError))
    except Exception:
        return Reading(trace=traceback.format_exc())


def _volume(files: Rendered, path: Path) -> Reading:
    volume = open_volume(str(path) + files.given.get("after", ""), **files.stated)
    check_stored(volume, None, None, None)
    voxels: list[NDArray[Any]] = []

    def kept(box: Box) -> NDArray[Any]:
        values = volume.read(box)
        voxels.append(values)
        return values

    sample(volume.shape, kept, "volume.path")
    frame = volume.frame
    understood = {
        "shape": list(volume.shape), "dtype": str(volume.dtype),
        "voxel_size": list(frame.voxel_size) if frame else None, "offset": list(frame.offset) if frame else None,
    }  # fmt: skip
    return Reading(understood=understood, voxels=voxels[0] if len(voxels) == 1 else None)


def _source(files: Rendered, path: Path) -> Reading:
    named = files.given.get("before", "") + str(path) + files.given.get("after", "")
    source = open_source(Request(named, "--raw", files.dataset, files.given.get("scale", 0)))
    value_range = None if source.dtype == np.uint8 else (0.0, 65535.0)
    job = plan(source, None, value_range=value_range, **files.options)
    small = np.prod(source.shape, dtype=float) <= MOST_VOXELS
    voxels = source.read(whole(source.shape)) if small else None
    frame = job.frame
    understood = {
        "shape": list(source.shape), "dtype": str(source.dtype),
        "voxel_size": list(frame.voxel_size), "offset": list(frame.offset),
    }  # fmt: skip
    return Reading(understood=understood, voxels=voxels)


def difference(found: Reading, truth: Truth) -> str:
    """What of a reading is wrong; empty if nothing is. Offsets may differ by a millionth of a voxel."""
    assert found.understood is not None
    if found.voxels is None or found.voxels.shape != truth.voxels.shape:
        return f"shape {found.understood['shape']} instead of {list(truth.voxels.shape)}"
    if not np.array_equal(found.voxels, truth.voxels):
        return f"{np.mean(found.voxels != truth.voxels):.0%} of the voxels differ"
    size, offset = found.understood["voxel_size"], found.understood["offset"]
    if truth.voxel_size is None or size is None:
        return "" if size is truth.voxel_size else f"voxel size {size} instead of {truth.voxel_size}"
    if not np.allclose(size, truth.voxel_size, rtol=1e-6, atol=0):
        return f"voxel size {size} instead of {list(truth.voxel_size)}"
    shift = np.abs(np.subtract(offset, truth.offset)) / truth.voxel_size
    return "" if (shift < 1e-6).all() else f"offset {offset} instead of {list(truth.offset)}"
