"""A volume placed in the world: axes, voxel size and offset come from its metadata or from overrides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector, whole
from fgnet_pipeline.store.arrays import open_array
from fgnet_pipeline.store.attribute_statements import (
    CosemTransform,
    DimensionUnits,
    NamedAxes,
    OwnAttributes,
    ViewerResolution,
)
from fgnet_pipeline.store.axis_names import agreed_order, order_of
from fgnet_pipeline.store.decoding import read_native
from fgnet_pipeline.store.frame import Frame, Size, size_of
from fgnet_pipeline.store.group_files import folders_above, group_attributes, read_json_file
from fgnet_pipeline.store.ome_metadata import levels_of
from fgnet_pipeline.store.statement import Asked, Numbers, Order, Place, Statement
from fgnet_pipeline.store.stored_share import StoredShare, stored_share
from fgnet_pipeline.store.webknossos import FILE, magnification_of

__all__ = ["Frame", "Size", "Volume", "axis_names", "frame_of", "open_volume"]

#: How many folders above an array metadata about it are looked for.
DEPTH = 2
#: Relative difference from which on two statements about a voxel size contradict each other.
DIFFERENT = 1e-3


@dataclass(frozen=True)
class Sources:
    """What states the axes, the voxel size and the offset of a volume, for people."""

    axes: str = "not stated"
    voxel_size: str = "not stated"
    offset: str = "not stated"


@dataclass(frozen=True)
class Volume:
    """A three-dimensional zyx view of a Zarr array.

    Attributes:
        array: as stored; further axes have length 1.
        order: which axes of the array are z, y and x.
        frame: voxel size and offset; None if nothing states a voxel size.
        path: folder or URL of the array.
        field: the configuration key or option that names it.
        sources: what states its axes and its place.
    """

    array: zarr.Array[Any]
    order: tuple[int, int, int]
    frame: Frame | None
    path: str
    field: str = "volume.path"
    sources: Sources = Sources()

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

    @cached_property
    def stored(self) -> StoredShare:
        """How much of the array is stored at all."""
        return stored_share(self.array)

    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels (z, y, x) of `box`, which must lie inside the volume."""
        selection: list[Any] = [0] * self.array.ndim
        for axis, part in zip(self.order, box.slices(), strict=True):
            selection[axis] = part
        data = read_native(self.array, tuple(selection))
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
        voxel_size: nm, zyx; overrides all metadata.
        offset: nm, zyx, of the corner of voxel 0; overrides all metadata.
        axes: names of the stored axes, in their order; override all metadata.

    Raises:
        InputError: no such array, axes that are not z, y, x (and further axes of length one), metadata that contradict
            each other or cannot be read.
    """
    array = open_array(path, field)
    asked = Asked(path, field, array.ndim)
    _check_shape(asked, array)
    statements = list(_statements(asked, array))
    if axes:
        order = order_of(asked, array.shape, tuple(name.lower() for name in axes), "names")
        from_ = "volume.axes"
    else:
        order, from_ = agreed_order(asked, array.shape, statements)
    if any(n != 1 for axis, n in enumerate(array.shape) if axis not in order):
        raise _not_three_axes(asked, array)
    frame, sources = _frame(asked, statements, order, voxel_size, offset)
    return Volume(array, order, frame, path, field, replace(sources, axes=from_))


def axis_names(array: zarr.Array[Any], path: str, field: str) -> tuple[str, ...] | None:
    """The names of all stored axes of an array, in lower case; None if nothing states them.

    Args:
        array: of any number of axes.
        path: its folder or URL.
        field: the configuration key or option to name in errors.

    Raises:
        InputError: two statements about the axes contradict each other.
    """
    asked = Asked(path, field, array.ndim)
    found = [(names, s.source) for s in _statements(asked, array) if (names := s.axes()) is not None]
    for names, source in found[1:]:
        if names != found[0][0]:
            stated = f"{found[0][1]} {','.join(found[0][0])} but {source} {','.join(names)}"
            raise asked.refusal("axes", f"{path}: {stated}", "statements about axes that agree")
    return found[0][0] if found else None


def _check_shape(asked: Asked, array: zarr.Array[Any]) -> None:
    if array.ndim < 3:
        raise _not_three_axes(asked, array)
    if 0 in array.shape:
        found = f"{asked.path} of shape {list(array.shape)}"
        raise InputError(asked.field, found, "at least one voxel", "check the volume")


def _not_three_axes(asked: Asked, array: zarr.Array[Any]) -> InputError:
    expected = "three axes z, y, x; others (time, channel) only with length 1"
    found = f"{asked.path} of shape {list(array.shape)}"
    return InputError(asked.field, found, expected, "extract one channel of one time point")


def _statements(asked: Asked, array: zarr.Array[Any]) -> Iterator[Statement]:
    """Everything that the metadata of an array, and of the folders above it, state of it."""
    attributes = dict(array.attrs)
    above = [(name, group_attributes(folder, asked.field), read_json_file(folder, FILE, asked.field))
             for folder, name in folders_above(asked.path, DEPTH)]  # fmt: skip
    is_paintera = any("painteraData" in found for found in [attributes, *(group for _, group, _ in above)])
    yield OwnAttributes(asked, attributes, is_paintera)
    for key in ("axis_names", "axes", "_ARRAY_DIMENSIONS"):
        yield NamedAxes(asked, f"attribute {key}", attributes.get(key))
    names = getattr(array.metadata, "dimension_names", None)
    yield NamedAxes(asked, "dimension_names", None if names is None else list(names))
    levels = next((found for name, group, _ in above if (found := levels_of(asked, group, name))), [])
    transform = attributes.get("transform")
    if isinstance(transform, dict) and {"scale", "translate", "axes"} & set(transform):
        listed = next((level.levels for level in levels if isinstance(level, CosemTransform)), ())
        yield CosemTransform(asked, transform, listed)
    yield from levels
    yield ViewerResolution(asked, attributes)
    yield DimensionUnits(asked, attributes.get("dimension_units"))
    for name, _, properties in above:
        if (magnification := magnification_of(asked, properties, name)) is not None:
            yield magnification
            return  # what is said beside a link comes before what is said beside its target


def frame_of(
    array: zarr.Array[Any],
    path: str,
    order: tuple[int, int, int],
    voxel_size: Size | None,
    offset: Size | None,
    field: str = "affinities.path",
) -> Frame | None:
    """The frame of an array, from overrides, else from its metadata.

    Args:
        array: of any number of axes.
        path: its folder or URL.
        order: which axes of the array are z, y and x.
        voxel_size: nm, zyx; overrides what is stated.
        offset: nm, zyx; overrides what is stated.
        field: the configuration key or option to name in errors.

    Returns:
        The frame; None if nothing states a voxel size. An offset that nothing states is 0.

    Raises:
        InputError: metadata that contradict each other or cannot be read, a voxel size that is not positive.
    """
    asked = Asked(path, field, array.ndim)
    return _frame(asked, list(_statements(asked, array)), order, voxel_size, offset)[0]


def _frame(
    asked: Asked, statements: list[Statement], order: Order, voxel_size: Size | None, offset: Size | None
) -> tuple[Frame | None, Sources]:
    """The frame, and what states voxel size and offset."""
    size, size_from = np.asarray(voxel_size), "volume.voxel_size"
    if voxel_size is None:
        found = _stated_size(asked, statements, order)
        if found is None:
            return None, Sources()
        size, size_from = found
    if not (np.isfinite(size).all() and (size > 0).all()):
        key = "volume.voxel_size" if asked.field == "volume.path" else asked.field
        found_size = size.tolist() if key != asked.field else f"{asked.path} with voxels of {size.tolist()} nm"
        raise InputError(key, found_size, "three positive numbers (nm, zyx)", "correct voxel_size")
    place, place_from = Place(np.zeros(3)), "not stated, taken as 0"
    if offset is not None:
        place, place_from = Place(np.asarray(offset)), "volume.offset"
    elif (stated := _stated_place(asked, statements, order, size)) is not None:
        place, place_from = stated
    if not np.isfinite(place.offset).all():
        raise InputError("volume.offset", place.offset.tolist(), "three finite numbers (nm, zyx)", "correct it")
    frame = Frame(size_of(size), size_of(place.offset), place.pyramid)
    return frame, Sources(voxel_size=size_from, offset=place_from)


def _stated_size(asked: Asked, statements: list[Statement], order: Order) -> tuple[Numbers, str] | None:
    """The voxel size that all metadata agree on. Our own attribute `voxel_size` is authoritative: no other is asked."""
    own = [s for s in statements if isinstance(s, OwnAttributes) and s.is_authoritative]
    found = [(size, s.source) for s in own or statements if (size := s.voxel_size(order)) is not None]
    for size, source in found[1:]:
        if not np.allclose(size, found[0][0], rtol=DIFFERENT, atol=0):
            stated = f"{found[0][1]} {found[0][0].tolist()} nm, but {source} {size.tolist()} nm"
            raise asked.refusal("voxel_size", f"{asked.path}: {stated}", "statements about the voxel size that agree")
    return found[0] if found else None


def _stated_place(asked: Asked, statements: list[Statement], order: Order, size: Numbers) -> tuple[Place, str] | None:
    """Where the metadata place the array. Our own attribute `offset` is authoritative: no other is asked.

    A pyramid without any translation is a weak statement: it yields to one that places its levels.
    """
    own = [s for s in statements if isinstance(s, OwnAttributes) and s.place(order) is not None]
    found = [(place, s.source) for s in own or statements if (place := s.place(order)) is not None]
    strong = [entry for entry in found if entry[0].offset.any() or (entry[0].pyramid and entry[0].pyramid.centred)]
    for place, source in strong[1:]:
        if (np.abs(place.offset - strong[0][0].offset) > 0.01 * size).any():
            stated = f"{strong[0][1]} {strong[0][0].offset.tolist()} nm, but {source} {place.offset.tolist()} nm"
            raise asked.refusal("offset", f"{asked.path}: {stated}", "statements about the offset that agree")
    if not found:
        return None
    place, source = (strong or found)[0]
    return place, "attribute offset" if own else f"{source}{_convention(place)}"


def _convention(place: Place) -> str:
    if place.pyramid is None:
        return ""
    if place.pyramid.centred:
        return ", translations place centres of voxels"
    return ", no translations between levels: one corner"
