"""The order of the axes of a stored array, and reading it as z, y, x or c, z, y, x."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector

#: Other names of the spatial axes and of the axis of channels.
_NAMES = {
    "depth": "z", "plane": "z", "height": "y", "row": "y", "width": "x", "column": "x",
    "channel": "c", "channels": "c", "offset": "c", "offsets": "c", "time": "t",
}  # fmt: skip


@dataclass(frozen=True)
class Axes:
    """Which axes of a stored array are z, y and x.

    Attributes:
        names: of all stored axes, in their order.
        order: the stored axes that are z, y, x; with channels c, z, y, x. All others have length 1.
    """

    names: tuple[str, ...]
    order: tuple[int, ...]

    def shape(self, stored: tuple[int, ...]) -> Vector:
        """Voxels, zyx, of an array of the shape `stored`."""
        return vector([stored[axis] for axis in self.order[-3:]])

    def channels(self, stored: tuple[int, ...]) -> int:
        """How many channels an array of the shape `stored` has."""
        return int(stored[self.order[0]]) if len(self.order) == 4 else 1

    def selection(self, box: Box) -> tuple[slice | int, ...]:
        """The index, in stored order, that reads a box of voxels with all channels."""
        picked: list[slice | int] = [0] * len(self.names)
        if len(self.order) == 4:
            picked[self.order[0]] = slice(None)
        for axis, part in zip(self.order[-3:], box.slices(), strict=True):
            picked[axis] = part
        return tuple(picked)

    def arranged(self, data: NDArray[Any]) -> NDArray[Any]:
        """What `selection` read, with the axes (c,) z, y, x."""
        stored = sorted(self.order)
        return np.transpose(data, [stored.index(axis) for axis in self.order])

    def spatial(self, values: list[float]) -> tuple[float, float, float]:
        """Numbers per stored axis, or per stored axis of space, as z, y, x.

        Args:
            values: as many as there are stored axes, or three.
        """
        order = list(self.order[-3:])
        if len(values) != len(self.names):
            order = [sorted(order).index(axis) for axis in order]
        z, y, x = (float(values[axis]) for axis in order)
        return z, y, x


def named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of axes in small letters, without other signs, and with z, y, x, c, t for their long forms."""
    plain = (re.sub(r"[^\w]", "", name).lower() for name in names)
    return tuple(_NAMES.get(name, name) for name in plain)


def arrange(names: tuple[str, ...], shape: tuple[int, ...], field: str, path: str, channels: bool = False) -> Axes:
    """Find z, y and x among the axes of an array.

    Args:
        names: one per stored axis.
        shape: of the stored array.
        field: the option to name in errors.
        path: what is read, for errors.
        channels: an axis c of any length is kept besides z, y and x.

    Raises:
        InputError: z, y and x are not among the names, a name comes twice, or another axis is longer than 1.
    """
    found = named(names)
    wanted = "czyx" if channels else "zyx"
    axes_option = "--labels-axes" if field == "--labels" else "--axes"
    example = ",".join(wanted)
    if len(found) != len(shape) or len(set(found)) != len(found) or not set(wanted) <= set(found):
        value = f"{path} of shape {list(shape)} with the axes {', '.join(names) or 'unnamed'}"
        raise InputError(field, value, f"the axes {', '.join(wanted)}", f"name them, e.g. {axes_option} {example}")
    longer = [f"{name} ({n})" for name, n in zip(found, shape, strict=True) if name not in wanted and n != 1]
    if longer:
        value = f"{path} of shape {list(shape)} with the axes {', '.join(found)}"
        expected = f"no more than one position along {' and '.join(longer)}"
        remedy = f"extract one, or name the axes if the file names them wrongly, e.g. {axes_option} {example}"
        raise InputError(field, value, expected, remedy)
    if 0 in shape:
        raise InputError(field, f"{path} of shape {list(shape)}", "at least one voxel", "check the file")
    return Axes(found, tuple(found.index(name) for name in wanted))
