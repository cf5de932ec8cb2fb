"""HDF5 files, also those of CREMI. Attributes of a dataset state its axes, voxel size and offset (`hdf5_metadata`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.datasets.hdf5_metadata import axes_of, placement_of
from fgnet_pipeline.datasets.hdf5_storage import stored_share, with_source_files
from fgnet_pipeline.datasets.source import Placed, Request, first_line, foreign, local_path

SUFFIXES = (".h5", ".hdf", ".hdf5")
#: Option -> the dataset of CREMI's files that holds raw or neuron ids (file format 0.2 of cremi_python).
CREMI = {"--raw": "volumes/raw", "--labels": "volumes/labels/neuron_ids"}
#: How deep groups are searched for datasets.
_DEPTH = 16


class Hdf5Source(Placed):
    """One dataset of a file; a box is read without reading the rest (see `source.Source`).

    With `Request.channels` it has the axis c in front, and `channels` is its length.

    Raises:
        InputError: the file is no HDF5, it is not clear which of its datasets to read, or its values are lost.
    """

    def __init__(self, request: Request) -> None:
        self.path, self._field = request.path, request.field
        self._file = _opened(request)
        with foreign(request.field, request.path, "an HDF5 file that can be read"):
            name = request.dataset or _chosen(self._file, request)
            # Attributes come first: HDF5 cannot list them once the dataset is open with a prefix for other files.
            self.attributes: dict[str, Any] = _attributes(_dataset(self._file, name, request))
            node = with_source_files(lambda: _dataset(self._file, name, request), request.path, request.field)
            where = f"{request.path}:{name}"
            self._data = node
            self._axes = axes_of(node.shape, self.attributes, where, request)
            self.stored = stored_share(node, request.path, where, request.field)
            self.dtype = np.dtype(node.dtype).newbyteorder("=")
        self.shape, self.axes = self._axes.shape(node.shape), self._axes.names
        self.channels = self._axes.channels(node.shape)
        self.placement = placement_of(self.attributes, self._axes, where, request.field)

    def read(self, box: Box) -> NDArray[Any]:
        """See `source.Source`; with channels (c, z, y, x)."""
        with foreign(self._field, self.path, "chunks that can be decoded"):
            return self._axes.arranged(np.asarray(self._data[self._axes.selection(box)]))


def has_cremi_labels(path: str) -> bool:
    """Whether an HDF5 file has the dataset in which CREMI's files hold neuron ids.

    Raises:
        InputError: the file is no HDF5.
    """
    with _opened(Request(path, "--raw")) as file:
        return isinstance(_get(file, CREMI["--labels"]), h5py.Dataset)


def datasets(file: h5py.File, ndim: int = 3) -> list[str]:
    """Paths of all datasets of `ndim` axes, and of more if all further ones have length 1.

    A dataset that several links lead to is named once.
    """
    return [name for name, node in _walk(file, "", set(), 0) if _fits(node.shape or (), ndim)]


def _fits(shape: tuple[int, ...], ndim: int) -> bool:
    return len(shape) == ndim or (len(shape) > ndim and sum(n != 1 for n in shape) <= ndim)


def _walk(group: h5py.Group, prefix: str, seen: set[Any], depth: int) -> Iterator[tuple[str, h5py.Dataset]]:
    for name in group:
        node = _get(group, name)
        if node is None:
            continue
        information = h5py.h5o.get_info(node.id)
        place = (information.fileno, information.addr)
        if place in seen:
            continue
        seen.add(place)
        if isinstance(node, h5py.Dataset):
            yield prefix + name, node
        elif isinstance(node, h5py.Group) and depth < _DEPTH:
            yield from _walk(node, f"{prefix}{name}/", seen, depth + 1)


def _get(group: h5py.Group, name: str) -> Any:
    """The object of a name; None if there is none, or if a link leads nowhere."""
    try:
        return group.get(name)
    except (KeyError, OSError, RuntimeError, ValueError):
        return None


def _opened(request: Request) -> h5py.File:
    path = local_path(request.path, request.field)
    with foreign(request.field, request.path, "a readable HDF5 file", "check the path"):
        return h5py.File(path, "r")


def _dataset(file: h5py.File, name: str, request: Request) -> h5py.Dataset:
    node = _get(file, name)
    if isinstance(node, h5py.Dataset):
        return node
    lost = _lost_link(file, name)
    if lost:
        expected = f"a dataset: the link {name} leads to {lost}, which cannot be opened"
        raise InputError(request.field, request.path, expected, f"put it where the link leads, beside {request.path}")
    listed = ", ".join(datasets(file, 4 if request.channels else 3)) or "no such datasets"
    raise InputError(f"{request.field}-dataset", name, f"a dataset of {request.path}", f"the file holds {listed}")


def _lost_link(file: h5py.File, name: str) -> str | None:
    """Where the first link on the way to `name` leads that leads nowhere; None if all links are whole."""
    parts = name.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        prefix = "/".join(parts[:count])
        if _get(file, prefix) is not None:
            continue
        try:
            link = file.get(prefix, getlink=True)
        except (KeyError, OSError, RuntimeError):
            return None
        if isinstance(link, h5py.ExternalLink):
            return f"{link.filename}:{link.path}"
        return str(link.path) if isinstance(link, h5py.SoftLink) else None
    return None


def _chosen(file: h5py.File, request: Request) -> str:
    """The dataset that CREMI's files have, else the only dataset of the file."""
    usual = CREMI.get(request.field, "")
    if usual and (isinstance(_get(file, usual), h5py.Dataset) or _lost_link(file, usual)):
        return usual
    axes = 4 if request.channels else 3
    found = datasets(file, axes)
    if len(found) == 1:
        return found[0]
    lost = sorted(f"{name} -> {target}" for name in file if (target := _lost_link(file, name)))
    kind = "no array of four axes" if request.channels else "no array of three axes"
    nothing = f"none, the file has {kind}" + (f", and links that lead nowhere: {'; '.join(lost)}" if lost else "")
    remedy = f"name one of: {', '.join(found) or nothing}"
    raise InputError(f"{request.field}-dataset", "not given", f"which dataset of {request.path}", remedy)


def _attributes(node: h5py.Dataset) -> dict[str, Any]:
    """The attributes that can be read; the value of another one is the error that says why it cannot."""
    found: dict[str, Any] = {}
    for name in node.attrs:
        try:
            found[name] = node.attrs[name]
        except (OSError, TypeError, ValueError, RuntimeError, KeyError) as error:
            found[name] = first_line(error)
    return found
