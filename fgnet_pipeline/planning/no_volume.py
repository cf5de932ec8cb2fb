"""Refuses what is no raw volume, with a sentence about what was seen: pictures, colours, masks, labels, affinities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError

#: The argument of `fgnet init`, for errors.
FIELD = "VOLUME"
#: Lengths of an axis of colours: RGB, and RGB with transparency.
COLOURS = (3, 4)
#: Share of pairs of neighbours with one value from which on values are ids of objects. Two neighbours in grey values of
#: electron microscopy are seldom equal, even after smoothing.
EQUAL_NEIGHBOURS = 0.75
#: Values that are left out of this share, the most frequent first: padding, and the background of labels.
LEFT_OUT = 2
EXPECTED = "a raw volume: grey values with three axes z, y, x"


class ImportNeededError(InputError):
    """A volume that is no Zarr array of integers, but can be converted by `fgnet import`.

    Args:
        path: of the volume.
        seen: what it is.
    """

    def __init__(self, path: str, seen: str) -> None:
        super().__init__(FIELD, f"{path} ({seen})", "a Zarr array of integers", "convert it with fgnet import")
        self.path, self.seen = path, seen


def refuse_no_volume(path: str, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Refuse an array that cannot be a raw volume, by its shape and type.

    Args:
        path: of the array.
        shape: lengths of all stored axes.
        dtype: of the values.

    Raises:
        InputError: it is none.
        ImportNeededError: a volume of floats.
    """
    found, longer = f"{path} of shape {list(shape)} and type {dtype}", [n for n in shape if n > 1]
    if len(shape) < 3 or len(longer) < 3:
        kind = "a single picture" if len(longer) == 2 else "no volume"
        remedy = "put all sections into one folder and use fgnet import, or name the volume"
        raise InputError(FIELD, f"{found}, which is {kind}", EXPECTED, remedy)
    if longer[-1] in COLOURS:
        found = f"{found}, whose last axis looks like colours (RGB)"
        raise InputError(FIELD, found, EXPECTED, "convert the colours to grey values")
    if len(longer) > 3:
        kind = "affinities or channels" if longer[0] < 64 else "a series of volumes"
        remedy = (
            "name one channel of one time point; for affinities set affinities.path (docs/guides/own-affinities.md)"
        )
        raise InputError(FIELD, f"{found}, which looks like {kind}", EXPECTED, remedy)
    if dtype.kind == "b":
        raise InputError(
            FIELD, f"{found}, which is a mask", EXPECTED, "name the raw volume; a mask goes to volume.mask"
        )
    if dtype.kind == "f":
        raise ImportNeededError(path, f"Zarr array of {dtype}")
    if dtype.kind not in "ui":
        raise InputError(FIELD, found, EXPECTED, "convert it to integers")


def refuse_no_grey(path: str, values: npt.NDArray[Any], tissue: npt.NDArray[Any]) -> None:
    """Refuse values that are no grey values.

    Args:
        path: of the array.
        values: sampled voxels (n,), row after row.
        tissue: those of them that are no padding (m,).

    Raises:
        InputError: one value everywhere, or ids of objects.
    """
    if len(tissue) == 0 or not np.ptp(values):
        seen = f"all {len(values)} sampled voxels have the value {values[0]}" if len(values) else "no voxel is stored"
        remedy = "check that it was copied as a whole, and that it is the raw volume"
        raise InputError(FIELD, f"{path}, of which {seen}", "grey values that differ", remedy)
    if looks_like_labels(values):
        many = len(np.unique(values))
        found = (f"{path} of type {values.dtype}, in which neighbours mostly have one value ({many} values in a "
                 f"sample, up to {values.max()}): labels or a segmentation")  # fmt: skip
        raise InputError(
            FIELD, found, "grey values of a raw volume", "name the raw volume; labels go to fgnet evaluate"
        )


def looks_like_labels(values: npt.NDArray[Any]) -> bool:
    """Whether values are ids of objects: neighbours mostly have one value, and there are several such values.

    Args:
        values: sampled voxels (n,), row after row.
    """
    known, counts = np.unique(values, return_counts=True)
    most = known[np.argsort(-counts, kind="stable")[:LEFT_OUT]]
    first, second = values[:-1], values[1:]
    equal = first == second
    of_interest = ~(equal & np.isin(first, most))
    if not of_interest.any() or len(known) <= LEFT_OUT:
        return len(known) <= LEFT_OUT and bool(equal.mean() > EQUAL_NEIGHBOURS)
    return bool(equal[of_interest].mean() > EQUAL_NEIGHBOURS)
