"""HDF5 files, written with h5py in memory.

Placement: `resolution` and `offset` in nm, zyx (cremi.org, file format 0.2); `element_size_um`, zyx
(github.com/fiji/HDF5_Vibez and ilastik); `axistags` (ukoethe.github.io/vigra, AxisTags.toJSON). Containers:
docs.hdfgroup.org, "HDF5 User Guide" (storage, filters, external links, virtual datasets).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from lab_files.specimen import Rendered, Truth, chunks_of


@dataclass
class Hdf5Volume:
    """The choices of a writer of one file.

    Attributes:
        truth: what is right to read.
        dataset: path inside the file.
        named: the user names the dataset.
        style: `cremi`, `um` (`element_size_um`) or `bare` (the user gives the sizes).
        axes: names of the stored axes.
        tags: `axistags` is there.
        container: `plain`, `virtual`, `external_link`, `external_raw` or `soft_link`.
        storage: keywords of `create_dataset`.
        big_endian: byte order.
        number: how an attribute of three numbers is stored: `list`, `float32`, `column`, `int` or `big`.
        libver: of h5py.
        others: further datasets of other ranks.
        lost: the other file of a container of two files is not there.
        lengths: axis -> length, of an axis that is not space.
        labels: the axes are named by dimension labels.
        sparse: chunks that hold only 0 are not written.
        unwritten: nothing is written into the dataset.
        attributes: that replace others; None drops one.
    """

    truth: Truth
    dataset: str = "volumes/raw"
    named: bool = False
    style: str = "cremi"
    axes: list[str] = field(default_factory=lambda: ["z", "y", "x"])
    tags: bool = False
    container: str = "plain"
    storage: dict[str, Any] = field(default_factory=dict)
    big_endian: bool = False
    number: str = "list"
    libver: str = "earliest"
    others: bool = False
    lost: bool = False
    lengths: dict[str, int] = field(default_factory=dict)
    labels: bool = False
    sparse: bool = False
    unwritten: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Any:
        """The voxels in the order of the stored axes."""
        space = [a for a in self.axes if a in "zyx"]
        stored = np.transpose(self.truth.voxels, ["zyx".index(a) for a in space])
        for place, axis in enumerate(self.axes):
            if axis not in "zyx":
                stored = np.repeat(np.expand_dims(stored, place), self.lengths.get(axis, 1), place)
        return np.ascontiguousarray(stored, stored.dtype.newbyteorder(">" if self.big_endian else "<"))


#: How numbers of an attribute may be stored.
NUMBERS: dict[str, Any] = {
    "list": list,
    "float32": lambda v: np.asarray(v, np.float32),
    "column": lambda v: np.asarray(v, np.float64)[:, None],
    "big": lambda v: np.asarray(v, ">f8"),
    "int": lambda v: np.asarray(v, np.int64) if np.all(np.equal(np.mod(v, 1), 0)) else np.asarray(v),
}


def axistags(axes: list[str]) -> str:
    """What vigra and ilastik write for these axes."""
    kinds = {"c": 1, "t": 8}
    tags = [{"key": a, "typeFlags": kinds.get(a, 2), "resolution": 0, "description": ""} for a in axes]
    return json.dumps({"axes": tags})


def render(volume: Hdf5Volume) -> Rendered:
    """The file, and a second one if the container needs it."""
    files: dict[str, bytes] = {}
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=volume.libver) as file:
        node = _stored(file, volume, files)
        if node is not None:
            _describe(node, volume)
        if volume.others:
            file["curve"] = np.arange(5)
            file["thumbnail"] = np.zeros((4, 5), np.uint8)
    files["v.h5"] = buffer.getvalue()
    if volume.lost:
        del files["other.h5"]
    found = Rendered({}, files, "v.h5", "hdf5", volume.dataset if volume.named else None)
    if volume.style == "bare":
        found.options = {"voxel_size": volume.truth.voxel_size, "offset": volume.truth.offset}
    return found


def _stored(file: h5py.File, volume: Hdf5Volume, files: dict[str, bytes]) -> h5py.Dataset | None:
    """Store the voxels; gives the node that carries the attributes, None if it lies in the other file."""
    data, name = volume.data, volume.dataset
    if volume.container == "plain":
        return _created(file, name, data, volume)
    if volume.container == "soft_link":
        _created(file, "hidden/array", data, volume)
        file[name] = h5py.SoftLink("/hidden/array")
        return file[name]
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=volume.libver) as other:
        node = _created(other, "part", data, volume)
        if volume.container == "external_link":
            _describe(node, volume)
    files["other.h5"] = buffer.getvalue()
    if volume.container == "external_link":
        file[name] = h5py.ExternalLink("other.h5", "/part")
        return None
    layout = h5py.VirtualLayout(data.shape, data.dtype)
    half = data.shape[0] // 2
    source = h5py.VirtualSource("other.h5", "part", data.shape)
    layout[:half], layout[half:] = source[:half], source[half:]
    return file.create_virtual_dataset(name, layout)


def _created(file: h5py.File, name: str, data: Any, volume: Hdf5Volume) -> h5py.Dataset:
    if not volume.sparse and not volume.unwritten:
        return file.create_dataset(name, data=data, **volume.storage)
    storage = volume.storage or {"chunks": tuple(max(1, n // 2) for n in data.shape)}
    node = file.create_dataset(name, data.shape, data.dtype, **storage)
    for index, part in chunks_of(data, node.chunks):
        if part.any() and not volume.unwritten:
            node[tuple(slice(i * c, i * c + n) for i, c, n in zip(index, node.chunks, part.shape, strict=True))] = part
    return node


def _describe(node: h5py.Dataset, volume: Hdf5Volume) -> None:
    truth, number = volume.truth, NUMBERS[volume.number]
    assert truth.voxel_size is not None
    found: dict[str, Any] = {}
    if volume.style == "cremi":
        found["resolution"] = number(list(truth.voxel_size))
        found["offset"] = number(list(truth.offset))
    if volume.style == "um":
        found["element_size_um"] = number([v / 1000 for v in truth.voxel_size])
    if volume.tags:
        found["axistags"] = axistags(volume.axes)
    if volume.labels:
        for dimension, axis in zip(node.dims, volume.axes, strict=True):
            dimension.label = axis
    for name, value in (found | volume.attributes).items():
        if value is not None:
            node.attrs[name] = value
