"""A volume placed in the world: axes, voxel size and offset come from attributes, OME-Zarr metadata or overrides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector, whole
from fgnet_pipeline.core.units import nm_per
from fgnet_pipeline.store.arrays import open_array
from fgnet_pipeline.store.ome_metadata import frame_in_nm, level_of

#: Nanometres along z, y and x.
Size = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """The place of a volume in the world.

    Attributes:
        voxel_size: nm, zyx.
        offset: position in nm, zyx, of the corner of voxel 0.
    """

    voxel_size: Size
    offset: Size

    def is_close(self, other: Frame) -> bool:
        """Whether both frames agree: offsets within a hundredth of a voxel, sizes within a thousandth."""
        shift = np.abs(np.subtract(self.offset, other.offset)) / self.voxel_size
        return bool(np.allclose(self.voxel_size, other.voxel_size, rtol=1e-3) and (shift < 0.01).all())

    def attributes(self, channels: bool = False) -> dict[str, Any]:
        """The attributes that our arrays carry, and that `funlib.persistence.open_ds` can read.

        That function silently truncates fractions (4.5 to 4). Therefore sizes that are not whole nanometres are stated
        in a finer unit.

        Args:
            channels: the array is (C, z, y, x); `^` marks an axis that is not space.
        """
        unit, scale = next(
            (u, s) for u, s in (("nm", 1), ("angstrom", 10), ("pm", 1000)) if u == "pm" or self._is_whole(s)
        )
        return {
            "voxel_size": [round(v * scale) for v in self.voxel_size],
            "offset": [round(v * scale) for v in self.offset],
            "axis_names": [*(["c^"] if channels else []), "z", "y", "x"],
            "units": [unit] * 3,
        }

    def _is_whole(self, scale: int) -> bool:
        numbers = np.multiply([*self.voxel_size, *self.offset], scale)
        return bool(np.allclose(numbers, np.rint(numbers), atol=1e-6, rtol=0))


@dataclass(frozen=True)
class Volume:
    """A three-dimensional zyx view of a Zarr array.

    Attributes:
        array: as stored; further axes have length 1.
        order: which axes of the array are z, y and x.
        frame: voxel size and offset; None if nothing states a voxel size.
        path: folder or URL of the array.
    """

    array: zarr.Array[Any]
    order: tuple[int, int, int]
    frame: Frame | None
    path: str

    @cached_property
    def shape(self) -> Vector:
        """Voxels, zyx."""
        return vector([self.array.shape[axis] for axis in self.order])

    @property
    def bounds(self) -> Box:
        """The box of the whole volume in voxels."""
        return whole(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values that `read` gives."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels (z, y, x) of `box`, which must lie inside the volume."""
        selection: list[Any] = [0] * self.array.ndim
        for axis, part in zip(self.order, box.slices(), strict=True):
            selection[axis] = part
        data = np.asarray(self.array[tuple(selection)])
        stored = sorted(self.order)
        return np.transpose(data, [stored.index(axis) for axis in self.order])


def open_volume(
    path: str,
    field: str = "volume.path",
    *,
    voxel_size: Size | None = None,
    offset: Size | None = None,
    axes: tuple[str, ...] | None = None,
) -> Volume:
    """Open a volume for reading.

    Args:
        path: folder or URL of a Zarr array.
        field: the configuration key or option to name in errors.
        voxel_size: nm, zyx; overrides attributes and OME metadata.
        offset: nm, zyx; overrides attributes and OME metadata.
        axes: names of the stored axes, in their order; override attributes and OME metadata.

    Raises:
        InputError: no such array, axes that are not z, y, x (and leading axes of length one), bad sizes.
    """
    array = open_array(path, field)
    names = tuple(name.lower() for name in axes) if axes else axis_names(array, path)
    order = _spatial_axes(array, names, field, path)
    frame = frame_of(array, path, order, voxel_size, offset)
    return Volume(array, order, frame, path)


def axis_names(array: zarr.Array[Any], path: str) -> tuple[str, ...] | None:
    """The names of the stored axes as attributes, OME metadata or Zarr state them, in lower case; None if none do."""
    names = array.attrs.get("axis_names") or array.attrs.get("axes")
    if names is None and (found := level_of(path)):
        names = [axis["name"] if isinstance(axis, dict) else axis for axis in found[0].get("axes", [])] or None
    if names is None:
        names = getattr(array.metadata, "dimension_names", None)
    if isinstance(names, list | tuple) and all(isinstance(n, str) for n in names):
        return tuple(re.sub(r"\W", "", n).lower() for n in names)
    return None


def _spatial_axes(array: zarr.Array[Any], names: tuple[str, ...] | None, field: str, path: str) -> tuple[int, int, int]:
    extra = "three axes z, y, x; others (time, channel) only with length 1"
    spatial = set("zyx")
    if names is not None and len(names) == 3 and spatial == set(names):
        names = (*(f"extra{i}" for i in range(array.ndim - 3)), *names)
    if names is None:
        names = (*(f"extra{i}" for i in range(array.ndim - 3)), "z", "y", "x")
    if array.ndim >= 3 and (len(names) != array.ndim or not spatial <= set(names)):
        expected = f"{array.ndim} names, z, y and x among them"
        raise InputError("volume.axes", list(names), expected, 'set e.g. volume.axes=["z","y","x"]')
    order = (names.index("z"), names.index("y"), names.index("x")) if array.ndim >= 3 else (0, 0, 0)
    if array.ndim < 3 or any(n != 1 for axis, n in enumerate(array.shape) if axis not in order):
        raise InputError(field, f"{path} of shape {list(array.shape)}", extra, "extract one channel of one time point")
    if 0 in array.shape:
        raise InputError(field, f"{path} of shape {list(array.shape)}", "at least one voxel", "check the volume")
    return order


def frame_of(
    array: zarr.Array[Any], path: str, order: tuple[int, int, int], voxel_size: Size | None, offset: Size | None
) -> Frame | None:
    """The frame of an array, from overrides, else from its attributes, else from OME metadata.

    Args:
        array: of any number of axes.
        path: its folder or URL.
        order: which axes of the array are z, y and x.
        voxel_size: nm, zyx; overrides what is stated.
        offset: nm, zyx; overrides what is stated.

    Returns:
        The frame; None if nothing states a voxel size. An offset that nothing states is 0.

    Raises:
        InputError: a voxel size that is not positive.
    """
    attributes = dict(array.attrs)
    ome_scale, ome_offset = frame_in_nm(path)
    units = attributes.get("units")
    scale = _numbers(_unit_factors(units, array.ndim), order, array.ndim) if units else None
    scale = np.ones(3) if scale is None else scale
    size = _numbers(attributes.get("voxel_size", attributes.get("resolution")), order, array.ndim)
    shift = _numbers(attributes.get("offset"), order, array.ndim)
    size = np.asarray(voxel_size) if voxel_size else (ome_scale if size is None else size * scale)
    shift = np.asarray(offset) if offset else (ome_offset if shift is None else shift * scale)
    if size is None:
        return None
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise InputError(
            "volume.voxel_size", size.tolist(), "three positive numbers (nm, zyx)", "set volume.voxel_size"
        )
    shift = np.zeros(3) if shift is None else shift
    return Frame(_size(size), _size(shift))


def _size(values: npt.NDArray[np.float64]) -> Size:
    z, y, x = (float(v) for v in values)
    return z, y, x


def _numbers(value: object, order: tuple[int, int, int], ndim: int) -> npt.NDArray[np.float64] | None:
    if not isinstance(value, list | tuple) or len(value) not in (3, ndim):
        return None
    numbers = np.asarray(value, dtype=np.float64)
    if len(numbers) == ndim:
        return numbers[list(order)]
    # Three numbers for an array with more axes are those of the spatial axes, in their stored order.
    return numbers[np.argsort(np.argsort(order))]


def _unit_factors(units: object, ndim: int) -> list[float]:
    """Nanometres per unit, one per stored axis; a single unit counts for all axes, an unknown one as nm."""
    names = [units] * ndim if isinstance(units, str) else units if isinstance(units, list | tuple) else []
    return [nm_per(name) or 1.0 for name in names]
