"""Scoring one stored segmentation against another: opens the arrays, lines them up in the world, and evaluates."""

from __future__ import annotations

import numpy as np

from .errors import InputError
from .evaluate import Scores, evaluate
from .geometry import vector
from .store.volume import Frame, Volume, open_volume

UNPLACED = Frame((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def compare(
    segmentation: str, labels: str, begin: str | None = None, end: str | None = None, workers: int = 1
) -> Scores:
    """Score ``segmentation`` against ``labels`` (paths of Zarr arrays) where they overlap in the world.

    Args:
        begin, end: first voxel, and the voxel after the last, of the labels to score, as ``"z,y,x"``.

    Raises:
        InputError: an array that cannot be opened, other voxel sizes, offsets off the voxel grid, no overlap.
    """
    one, other = open_volume(segmentation, "SEGMENTATION"), open_volume(labels, "LABELS")
    first, second = _frames(one, other)
    shift = np.subtract(second.offset, first.offset) / np.asarray(first.voxel_size)
    if not np.allclose(shift, np.rint(shift), atol=0.01):
        raise InputError("LABELS", f"{labels} at {list(second.offset)} nm", "a whole number of voxels away from the "
                         f"segmentation at {list(first.offset)} nm", "correct the offset attributes")  # fmt: skip
    region = None
    if begin is not None or end is not None:
        low = _corner("--begin", begin, (0, 0, 0))
        high = _corner("--end", end, other.shape)
        region = tuple(zip(low, high, strict=True))
    return evaluate(
        _Reader(one),
        _Reader(other),
        labels_offset=vector(np.rint(shift)),
        segmentation_voxel_size=first.voxel_size,
        labels_voxel_size=second.voxel_size,
        region=region,
        workers=workers,
    )


def _frames(one: Volume, other: Volume) -> tuple[Frame, Frame]:
    """Frames of both; where one states none it is taken to lie on the other."""
    first, second = one.frame or other.frame or UNPLACED, other.frame or one.frame or UNPLACED
    return first, second


def _corner(option: str, text: str | None, default: tuple[int, int, int]) -> tuple[int, int, int]:
    if text is None:
        return default
    try:
        return vector([int(part) for part in text.split(",")])
    except ValueError as error:
        raise InputError(option, text, "three whole numbers z,y,x", f"e.g. {option} 0,0,0") from error


class _Reader:
    """A volume as the plain array that :mod:`fgnet_pipeline.evaluate` takes."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.shape, self.dtype = volume.shape, volume.dtype
        shards = getattr(volume.array, "shards", None) or volume.array.chunks
        self.chunks = tuple(shards[axis] for axis in volume.order)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> np.ndarray:
        from .geometry import Box

        return self._volume.read(Box(vector([s.start for s in key]), vector([s.stop for s in key])))
