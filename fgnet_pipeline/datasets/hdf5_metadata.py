"""What the attributes of an HDF5 dataset say about its axes, voxel size and offset.

- `resolution` and `offset`: nm, one number per stored axis, as in CREMI's files (cremi_python, file format 0.2);
  `voxel_size` counts like `resolution`. The attributes `units` or `unit` may state another unit.
- `element_size_um`: micrometres, z y x in every file. Fiji's HDF5 plugin and ilastik write it
  (github.com/fiji/HDF5_Vibez).
- `axistags`: JSON of vigra, `{"axes": [{"key": "z"}, ...]}`, in stored order; ilastik writes it.
- `DIMENSION_LABELS`: the dimension scales of HDF5 (H5DSset_label).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.axes import Axes, arrange, named
from fgnet_pipeline.datasets.source import Placement, Request, Size
from fgnet_pipeline.datasets.stated_numbers import agree, numbers, positive, unit_factors

#: Attributes that other programs use for the names of axes: a list of names, or one text such as `zyx`.
_NAMES = ("axis_names", "axes", "axis_order", "axisorder", "axislabels", "_ARRAY_DIMENSIONS")
_NM_PER_UM = 1000.0


def axes_of(shape: tuple[int, ...], attributes: Mapping[str, Any], where: str, request: Request) -> Axes:
    """The axes of a dataset: as the option or the file names them, else (c), z, y, x.

    Args:
        shape: of the dataset.
        attributes: of the dataset.
        where: file and dataset, for errors.
        request: what to open.

    Raises:
        InputError: two attributes contradict each other, or the axes are not z, y and x.
    """
    usual = ("c", "z", "y", "x") if request.channels else ("z", "y", "x")
    if len(shape) < len(usual):
        value = f"{where} of shape {list(shape)}"
        raise InputError(request.field, value, f"voxels along {', '.join(usual)}", "name another dataset")
    if request.axes:
        return arrange(request.axes, shape, request.field, where, request.channels)
    if "MATLAB_class" in attributes:
        expected = "named axes: MATLAB stores the axes of an array in reversed order"
        raise InputError(request.field, where, expected, "name them in stored order, e.g. --axes z,x,y")
    stated = {key: named(names) for key, names in _stated_axes(attributes, len(shape), where, request.field).items()}
    if len(set(stated.values())) > 1:
        value = f"{where} with {', '.join(f'{key} {list(names)}' for key, names in stated.items())}"
        raise InputError(request.field, value, "attributes that agree about the axes", "name the axes with --axes")
    names = next(iter(stated.values()), usual)
    if not stated and len(shape) > len(usual):
        names = (*(f"extra{i}" for i in range(len(shape) - len(usual))), *usual)
    return arrange(names, shape, request.field, where, request.channels)


def _stated_axes(attributes: Mapping[str, Any], ndim: int, where: str, field: str) -> dict[str, tuple[str, ...]]:
    found = {}
    if "DIMENSION_LABELS" in attributes:  # not by H5DSget_label, which crashes on an attribute of another type
        labels = _listed(attributes["DIMENSION_LABELS"], ndim)
        if any(labels):
            found["DIMENSION_LABELS"] = labels
    tags = attributes.get("axistags")
    if tags is not None:
        try:
            text = tags.decode() if isinstance(tags, bytes) else str(tags)
            found["axistags"] = tuple(str(axis["key"]) for axis in json.loads(text)["axes"])
        except (ValueError, KeyError, TypeError) as error:
            expected = "axistags as vigra writes them"
            raise InputError(field, f"{where}, attribute axistags", expected, "name the axes with --axes") from error
    for key in _NAMES:
        if key in attributes:
            found[key] = _listed(attributes[key], ndim)
    return found


def _listed(value: Any, ndim: int) -> tuple[str, ...]:
    """Names from a list, or from one text of one letter per axis."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        parts = value.replace(",", " ").split()
        return tuple(parts) if len(parts) == ndim else tuple(value)
    flat = np.asarray(value).ravel()
    return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in flat)


def placement_of(attributes: Mapping[str, Any], axes: Axes, where: str, field: str) -> Placement:
    """Voxel size and offset as attributes of a dataset state them.

    Args:
        attributes: of the dataset.
        axes: of the dataset.
        where: file and dataset, for errors.
        field: the option to name in errors.
    """
    return Placement(
        lambda: _voxel_size(attributes, axes, where, field),
        lambda: _scaled(attributes, "offset", axes, where, field),
    )


def _voxel_size(attributes: Mapping[str, Any], axes: Axes, where: str, field: str) -> Size | None:
    found: dict[str, Size] = {}
    for key in ("resolution", "voxel_size"):
        size = _scaled(attributes, key, axes, where, field)
        if size is not None:
            positive(list(size), field, f"{where}, attribute {key}")
            found[key] = size
    if "element_size_um" in attributes:
        what = f"{where}, attribute element_size_um"
        z, y, x = positive(numbers(attributes["element_size_um"], (3,), field, what), field, what)
        found["element_size_um"] = (z * _NM_PER_UM, y * _NM_PER_UM, x * _NM_PER_UM)
    sizes = list(found.values())
    if any(not agree(sizes[0], other) for other in sizes):
        value = f"{where} with {', '.join(f'{key} of {list(size)} nm' for key, size in found.items())}"
        raise InputError(field, value, "attributes that agree", "give --voxel-size")
    return sizes[0] if sizes else None


def _scaled(attributes: Mapping[str, Any], key: str, axes: Axes, where: str, field: str) -> Size | None:
    """An attribute of lengths in nm, zyx; None if it is not there or counts pixels."""
    if key not in attributes:
        return None
    what = f"{where}, attribute {key}"
    values = numbers(attributes[key], (3, len(axes.names)), field, what)
    stated = attributes.get("units", attributes.get("unit"))
    factors = unit_factors(stated, len(values), field, where, default=1.0)
    if factors is None:
        return None
    if len(factors) != len(values):
        raise InputError(field, f"{what} with {len(factors)} units", f"{len(values)} units", "give --voxel-size")
    return axes.spatial([value * factor for value, factor in zip(values, factors, strict=True)])
