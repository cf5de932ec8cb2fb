"""Whether the values of an HDF5 dataset are there.

HDF5 gives the fill value, usually 0, for chunks that were never written, and also for parts of a virtual dataset whose
source file cannot be opened (github.com/HDFGroup/hdf5/issues/5088). So both are looked up before anything is read.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import h5py

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.source import first_line

#: Deepest chain of virtual datasets that is followed.
_DEPTH = 8


def with_source_files(opened: Callable[[], h5py.Dataset], path: str, field: str) -> h5py.Dataset:
    """A dataset, opened so that relative names of other files count from the folder of its own file.

    Args:
        opened: opens the dataset. A virtual dataset and one with external storage have their values in other files.
        path: of the file, as the user named it.
        field: the option to name in errors.

    Raises:
        InputError: an external file is lost or too short.
    """
    prefixed = _prefixed(opened(), path, field)
    if prefixed is None:
        return opened()
    # HDF5 applies a prefix only to a dataset that is not open, so no variable may hold it now.
    file, name, access = prefixed
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


def _prefixed(node: h5py.Dataset, path: str, field: str) -> tuple[h5py.File, str, Any] | None:
    """File, name and access properties of a dataset that needs a prefix for the names of other files; else None."""
    folder = Path(node.file.filename).absolute().parent
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    if node.is_virtual:
        access.set_virtual_prefix(os.fsencode(folder))
    elif node.external and _check_external(node, folder, path, field):
        access.set_efile_prefix(os.fsencode(folder))
    else:
        return None
    return node.file, str(node.name), access


def _check_external(node: h5py.Dataset, folder: Path, path: str, field: str) -> bool:
    """Whether external files lie beside the file of the dataset; if not, they lie in the working folder."""
    names = [name for name, _, _ in node.external]
    beside = all((folder / name).is_file() for name in names)
    root = folder if beside else Path.cwd()
    left = prod(node.shape) * node.dtype.itemsize
    for name, begin, length in node.external:
        found = root / name
        if not found.is_file():
            expected = f"the file {name}, in which its values are stored"
            raise InputError(field, path, expected, f"put it beside {path}")
        needed = min(left, length)
        if found.stat().st_size < begin + needed:
            expected = f"{begin + needed} bytes in {found}, in which its values are stored"
            raise InputError(field, path, expected, f"it has {found.stat().st_size} bytes: fetch it anew")
        left -= needed
    return beside


def stored_share(node: h5py.Dataset, path: str, where: str, field: str) -> float:
    """The share of the chunks of a dataset that are stored; of a virtual dataset, of the voxels that have a source.

    Args:
        node: the dataset.
        path: of the file, as the user named it.
        where: file and dataset, for errors.
        field: the option to name in errors.

    Returns:
        Above 0, up to 1.

    Raises:
        InputError: nothing was ever written, a source file is lost, or a filter is not installed.
    """
    check_filters(node, where, field)
    share = _virtual_share(node, path, field, 0) if node.is_virtual else _own_share(node)
    if share == 0:
        expected = "stored values, but none of its chunks was ever written (it would read as its fill value)"
        raise InputError(field, where, expected, "name another dataset, or check how the file was written")
    return share


def _own_share(node: h5py.Dataset) -> float:
    if node.external:
        return 1.0
    layout = node.id.get_create_plist().get_layout()
    if layout == h5py.h5d.CHUNKED:
        chunks = prod(-(-n // c) for n, c in zip(node.shape, node.chunks, strict=True))
        return min(1.0, float(node.id.get_num_chunks()) / max(1, chunks))
    if layout == h5py.h5d.CONTIGUOUS:
        return 1.0 if node.id.get_offset() is not None else 0.0
    return 1.0


def _virtual_share(node: h5py.Dataset, path: str, field: str, depth: int) -> float:
    total, covered = prod(node.shape), 0.0
    mapped = node.id.get_create_plist()
    known: dict[tuple[str, str], float] = {}
    for i in range(mapped.get_virtual_count()):
        count = int(mapped.get_virtual_vspace(i).get_select_npoints())
        voxels = total if count < 0 or count > total else count  # a selection without an end counts as all
        source = (str(mapped.get_virtual_filename(i)), str(mapped.get_virtual_dsetname(i)))
        if voxels:
            if source not in known:
                known[source] = _source_share(node, source, path, field, depth)
            covered += voxels * known[source]
    return min(1.0, covered / max(1, total))


def _source_share(node: h5py.Dataset, source: tuple[str, str], path: str, field: str, depth: int) -> float:
    """The stored share of one source, file and dataset, of a virtual dataset. `%b` counts sources from 0 on."""
    file_name, name = source[0].replace("%b", "0"), source[1].replace("%b", "0")
    shown = ":".join(source)
    remedy = f"put it beside {path}, or where the virtual dataset names it"
    own = Path(node.file.filename).absolute()
    found = own if file_name == "." else _found(file_name, own.parent)
    if found is None:
        raise InputError(field, path, f"the source file {shown} of its virtual dataset, which is lost", remedy)
    try:
        with h5py.File(found, "r") as opened:
            inner = opened.get(name)
            if not isinstance(inner, h5py.Dataset):
                raise InputError(field, path, f"the source dataset {shown} of its virtual dataset", remedy)
            check_filters(inner, f"{found}:{name}", field)
            if inner.is_virtual and depth < _DEPTH:
                share = _virtual_share(inner, str(found), field, depth + 1)
            else:
                share = _own_share(inner)
    except (OSError, RuntimeError, ValueError) as error:
        expected = f"a readable source file {shown} of its virtual dataset"
        raise InputError(field, path, expected, f"fetch it anew ({first_line(error)})") from error
    if share == 0:
        raise InputError(field, path, f"values in the source dataset {shown}, which was never written", remedy)
    return share


def _found(name: str, folder: Path) -> Path | None:
    """Where HDF5 finds a source file: as it is named, else in the folder of the virtual dataset (H5Pset_virtual)."""
    given = Path(name)
    places = [given, folder / given.name] if given.is_absolute() else [folder / given, Path.cwd() / given]
    return next((place for place in places if place.is_file()), None)


def check_filters(node: h5py.Dataset, where: str, field: str) -> None:
    """Check that every filter of a dataset can be undone here. The package hdf5plugin is used if it is installed.

    Args:
        node: the dataset.
        where: file and dataset, for errors.
        field: the option to name in errors.

    Raises:
        InputError: a filter is not installed.
    """
    filters = node.id.get_create_plist()
    for i in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(i)
        if h5py.h5z.filter_avail(code):
            continue
        with contextlib.suppress(ImportError):
            importlib.import_module("hdf5plugin")  # it registers its filters
        if not h5py.h5z.filter_avail(code):
            shown = name.decode("utf-8", "replace") or "without a name"
            expected = f"filters that are installed, not the HDF5 filter {code} ({shown})"
            remedy = "pip install hdf5plugin, or write the file anew with h5repack -f GZIP=1"
            raise InputError(field, where, expected, remedy)
