"""HDF5 files, also those of CREMI. The attributes `resolution` and `offset` of a dataset are in nm, zyx."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.datasets.source import Request, Size, check_three_axes

SUFFIXES = (".h5", ".hdf", ".hdf5")
#: Option -> the dataset of CREMI's files that holds raw or neuron ids (file format 0.2 of cremi_python).
CREMI = {"--raw": "volumes/raw", "--labels": "volumes/labels/neuron_ids"}


class Hdf5Source:
    """One dataset of a file; a box is read without reading the rest (see `source.Source`).

    Raises:
        InputError: the file is no HDF5, or it is not clear which of its datasets to read.
    """

    by_section = False

    def __init__(self, request: Request) -> None:
        self.path = request.path
        self._file = _opened(request)
        name = request.dataset or _chosen(self._file, request)
        node = self._file.get(name)
        if not isinstance(node, h5py.Dataset):
            listed = ", ".join(datasets(self._file)) or "no datasets"
            remedy = f"the file holds {listed}"
            raise InputError(f"{request.field}-dataset", name, f"a dataset of {self.path}", remedy)
        self._data = node
        self.shape = check_three_axes(request.field, f"{self.path}:{name}", node.shape)
        self.dtype = node.dtype
        self.voxel_size = _three(node, "resolution")
        self.offset = _three(node, "offset")

    def read(self, box: Box) -> NDArray[Any]:
        return np.asarray(self._data[box.slices()])


def has_cremi_labels(path: str) -> bool:
    """Whether an HDF5 file has the dataset in which CREMI's files hold neuron ids.

    Raises:
        InputError: the file is no HDF5.
    """
    with _opened(Request(path, "--raw")) as file:
        return isinstance(file.get(CREMI["--labels"]), h5py.Dataset)


def datasets(file: h5py.File) -> list[str]:
    """Paths of all three-dimensional datasets of a file."""
    found: list[str] = []

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim == 3:
            found.append(name)

    file.visititems(visit)
    return found


def _opened(request: Request) -> h5py.File:
    try:
        return h5py.File(request.path, "r")
    except OSError as error:
        remedy = f"check the path ({str(error).splitlines()[0]})"
        raise InputError(request.field, request.path, "a readable HDF5 file", remedy) from error


def _chosen(file: h5py.File, request: Request) -> str:
    """The dataset that CREMI's files have, else the only dataset of the file."""
    usual = CREMI.get(request.field, "")
    if isinstance(file.get(usual), h5py.Dataset):
        return usual
    found = datasets(file)
    if len(found) == 1:
        return found[0]
    remedy = f"name one of: {', '.join(found) or 'none, the file has no array of three axes'}"
    raise InputError(f"{request.field}-dataset", "not given", f"which dataset of {request.path}", remedy)


def _three(node: h5py.Dataset, name: str) -> Size | None:
    values = np.asarray(node.attrs.get(name, ()), np.float64).ravel()
    if len(values) != 3:
        return None
    z, y, x = (float(v) for v in values)
    return z, y, x
