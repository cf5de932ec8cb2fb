"""Affinities that a lab brings, read as ours: nearest neighbours [-1,0,0], [0,-1,0], [0,0,-1] first.

Other programs order channels in other ways, or store the affinity of v and v + 1 instead of v and v - 1. The attribute
`neighbourhood` (or `neighborhood`, or `offsets`) of the array says which offset a channel has, and the axis names say
which axis holds the channels. docs/guides/own-affinities.md shows the convention in a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import NEAREST, Box, Vector, vector
from fgnet_pipeline.kernels.tiling import to_uint8
from fgnet_pipeline.store.affinity_checks import check_values
from fgnet_pipeline.store.affinity_offsets import stated_offsets
from fgnet_pipeline.store.arrays import open_array
from fgnet_pipeline.store.decoding import read_native
from fgnet_pipeline.store.input_identity import sample
from fgnet_pipeline.store.volume import axis_names, frame_of

FIELD = "affinities.path"
TIME = ("t", "time")
#: More channels than this are taken for an axis of space, if no axis names say otherwise.
MOST_CHANNELS = 64


class LabAffinities:
    """Affinities that a lab brings: uint8, or float in [0, 1] with NaN as 0 (a boundary).

    Args:
        path: of the array.
        channels: indices of the channels to read; None: all.
        check: whether sampled values are read and checked.

    Attributes:
        array: the opened array.
        path: of the array.
        order: which axes of the array are z, y and x.
        channels: how many channels `read` gives, at least 3.
        neighbourhood: the offsets (zyx) of the channels that `read` gives. Nearest neighbours come first, as ours do.
        stated: whether the array states its offsets. If not, they are assumed.
        shape: voxels, zyx.
        frame: voxel size and offset in nm, zyx; None if the array does not state them.

    Raises:
        InputError: shape, dtype, axes, offsets or values do not fit.
    """

    def __init__(self, path: str, channels: Sequence[int] | None = None, check: bool = True) -> None:
        self.array, self.path = open_array(path, FIELD), path
        self._channel_axis, self.order = _axes(self.array.shape, axis_names(self.array, path, FIELD), path)
        if self.array.dtype != np.uint8 and not np.issubdtype(self.array.dtype, np.floating):
            found = f"{path} of type {self.array.dtype}"
            raise InputError(FIELD, found, "uint8 (value/255) or float in [0, 1]", "convert it")
        stored = int(self.array.shape[self._channel_axis])
        offsets = _stated_offsets(dict(self.array.attrs), stored, path)
        self.stated = offsets is not None
        self._chosen = _chosen(channels, stored, offsets is not None, path)
        self._set_offsets(offsets or NEAREST)
        self.channels = len(self._chosen)
        self.shape: Vector = vector([self.array.shape[axis] for axis in self.order])
        self.frame = frame_of(self.array, path, self.order, None, None)
        if check:
            check_values(sample(self.shape, self._read_stored, FIELD), FIELD, path)

    @property
    def nearest(self) -> tuple[int, ...]:
        """The stored channels of the nearest neighbours along z, y and x."""
        return tuple(self._chosen[:3])

    def _set_offsets(self, offsets: Sequence[Vector]) -> None:
        """Put the nearest neighbours first.

        Args:
            offsets: zyx, of all channels; of the first three alone if the array states none.
        """
        of_chosen = [offsets[c] for c in self._chosen] if self.stated else list(offsets)
        nearest = [_nearest(axis, of_chosen, self.path) for axis in range(3)]
        order = [*nearest, *(i for i in range(len(of_chosen)) if i not in nearest)]
        #: Axes along which the channel states the affinity of a voxel and the next one.
        self._forward = [axis for axis in range(3) if of_chosen[nearest[axis]][axis] == 1]
        self.neighbourhood = (*NEAREST, *(of_chosen[i] for i in order[3:]))
        self._chosen = [self._chosen[i] for i in order]

    def _read_stored(self, box: Box) -> npt.NDArray[Any]:
        """The chosen channels (C, z, y, x) in the order of `neighbourhood`, with their stored values."""
        selection: list[Any] = [slice(None)] * 4
        for axis, part in zip(self.order, box.slices(), strict=True):
            selection[axis] = part
        data = np.moveaxis(read_native(self.array, tuple(selection)), self._channel_axis, 0)
        if self._chosen != list(range(len(data))):
            data = data[self._chosen]
        return np.ascontiguousarray(data)

    def read(self, box: Box) -> npt.NDArray[np.uint8]:
        """Read the voxels of `box`.

        Returns:
            uint8 (C, z, y, x); value / 255 is the affinity.
        """
        below = vector([int(axis in self._forward) for axis in range(3)])
        wide = box.grow(below, (0, 0, 0)).intersect(Box((0, 0, 0), self.shape))
        data = self._read_stored(wide)
        data = data if data.dtype == np.uint8 else to_uint8(data.astype(np.float32))
        if not self._forward:
            return data
        result = data[(slice(None), *box.slices(wide.begin))].copy()
        for axis in self._forward:
            result[axis] = _of_voxel_before(data[axis], wide, box, axis)
        return result


def _of_voxel_before(data: npt.NDArray[np.uint8], wide: Box, box: Box, axis: int) -> npt.NDArray[np.uint8]:
    """The values that `data` (z, y, x, of the box `wide`) holds one voxel before each voxel of `box`; 0 at the face."""
    step = vector([-int(a == axis) for a in range(3)])
    source = Box(vector(np.add(box.begin, step)), vector(np.add(box.end, step)))
    held = source.intersect(wide)
    result = np.zeros(box.shape, np.uint8)
    if held:
        result[held.slices(source.begin)] = data[held.slices(wide.begin)]
    return result


def _axes(shape: tuple[int, ...], names: tuple[str, ...] | None, path: str) -> tuple[int, tuple[int, int, int]]:
    """Find the axis of the channels, and the axes z, y and x."""
    found = f"{path} of shape {list(shape)}"
    if len(shape) != 4 or 0 in shape:
        raise InputError(FIELD, found, "(C, z, y, x) with C >= 3", "name another array")
    if names is not None:
        return _named_axes(names, shape, path)
    if shape[0] < 3:
        raise InputError(FIELD, found, "(C, z, y, x) with C >= 3", "name another array")
    if shape[0] > MOST_CHANNELS or (shape[-1] <= 6 and shape[-1] < shape[0]):
        raise InputError(FIELD, found, "(C, z, y, x), channels first, unless its axis_names say otherwise",
                         'give the array the attribute axis_names, e.g. ["z","y","x","c^"]')  # fmt: skip
    return 0, (1, 2, 3)


def _named_axes(names: tuple[str, ...], shape: tuple[int, ...], path: str) -> tuple[int, tuple[int, int, int]]:
    """The axes of an array that names them."""
    space = [i for i, name in enumerate(names) if name in ("z", "y", "x")]
    if len(names) != 4 or [names[i] for i in space] != ["z", "y", "x"]:
        expected = "four axes: z, y, x in this order, and one of channels before or after them"
        raise InputError(FIELD, f"{path} with axes {list(names)}", expected, "transpose the array or correct the names")
    channel = next(i for i in range(4) if i not in space)
    if names[channel] in TIME:
        raise InputError(FIELD, f"{path} with axes {list(names)}", "channels, not points in time", "extract one point")
    if shape[channel] < 3:
        raise InputError(FIELD, f"{path} of shape {list(shape)}", "at least 3 channels", "name another array")
    return channel, (space[0], space[1], space[2])


def _stated_offsets(attributes: dict[str, Any], channels: int, path: str) -> list[Vector] | None:
    """The offset of each channel, zyx; None if no attribute states them."""
    found = stated_offsets(attributes, FIELD, path, "correct the attribute")
    if found is not None and len(found) != channels:
        value = f"{path} with {len(found)} offsets for {channels} channels"
        raise InputError(FIELD, value, "one offset for each channel", "correct the attribute, or name the axes")
    return found


def _chosen(channels: Sequence[int] | None, stored: int, stated: bool, path: str) -> list[int]:
    """The indices of the channels to read."""
    if channels is None and not stated and stored > 3:
        raise InputError(FIELD, f"{path} of {stored} channels without offsets", "3 channels, or the offset of each",
                         "set affinities.channels, e.g. [0,1,2], or give the array an attribute `offsets`")  # fmt: skip
    if channels is None:
        return list(range(stored))
    fits = len(set(channels)) == len(channels) and max(channels) < stored
    if not fits or (len(channels) != 3 and not stated):
        count = "" if stated else "three of them, since the array does not state offsets: "
        raise InputError("affinities.channels", list(channels), f"{count}different indices from 0 to {stored - 1}",
                         "correct the list")  # fmt: skip
    return list(channels)


def _nearest(axis: int, offsets: Sequence[Vector], path: str) -> int:
    """The position in `offsets` of the channel between neighbours along `axis`; that of the voxel before it, if any."""
    for step in (-1, 1):
        wanted = vector([step * int(a == axis) for a in range(3)])
        found = [i for i, offset in enumerate(offsets) if offset == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(FIELD, f"{path}: channels {found} have the offset {list(wanted)}", "one channel of it",
                             "set affinities.channels, or correct the offsets")  # fmt: skip
    expected = f"a channel between neighbours along {'zyx'[axis]}, offset {list(NEAREST[axis])} or its opposite"
    raise InputError(FIELD, f"{path} with offsets {[list(o) for o in offsets]}", expected,
                     "add the channel, or correct the offsets")  # fmt: skip
