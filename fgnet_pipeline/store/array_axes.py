"""Adds the names and units of axes to an array that was written without them; only its metadata file is replaced.

Zarr keeps the names as `dimension_names`. TensorStore and Neuroglancer read the units from the attribute
`dimension_units` (google.github.io/tensorstore/driver/zarr3).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.arrays import AXES
from fgnet_pipeline.store.atomic_files import write_atomic
from fgnet_pipeline.store.object_store import RemoteStore
from fgnet_pipeline.store.volume import frame_of

NAMES, UNITS = "dimension_names", "dimension_units"


def with_axes(store: RemoteStore | Path, name: str, path: str) -> tuple[tuple[str, ...], bytes]:
    """The metadata of an array with what it lacks of `dimension_names` and `dimension_units`; nothing is written.

    Args:
        store: that holds the array; a folder or an object store.
        name: of the array, one of ours: (z, y, x) or (C, z, y, x).
        path: folder or URL of the array, for errors.

    Returns:
        (what was added, content of the metadata file). Nothing is added if the array has both.

    Raises:
        InputError: its attributes state no voxel size, or contradict each other.
        StoreError: the object store refuses or does not answer.
    """
    array = zarr.open_array(store=store, path=name, mode="r")
    document = json.loads(_read(store, f"{name}/zarr.json"))
    attributes = document.setdefault("attributes", {})
    missing = tuple(n for n, holder in ((NAMES, document), (UNITS, attributes)) if holder.get(n) is None)
    if NAMES in missing:
        document[NAMES] = list(AXES[-array.ndim :])
    if UNITS in missing:
        attributes[UNITS] = _units(array, path)
    return missing, (json.dumps(document, indent=2) + "\n").encode()


def replace_metadata(store: RemoteStore | Path, name: str, data: bytes) -> None:
    """Write the metadata file of an array, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
        StoreError: the object store refuses or does not answer.
    """
    key = f"{name}/zarr.json"
    if isinstance(store, Path):
        write_atomic(store / key, data)
    else:
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(data)))


def _units(array: zarr.Array[Any], path: str) -> list[str | None]:
    lead = array.ndim - 3
    frame = frame_of(array, path, (lead, lead + 1, lead + 2), None, None, "CONFIG|OUTPUT")
    if frame is None:
        raise InputError("CONFIG|OUTPUT", path, "an array whose attributes state its voxel_size",
                         "`fgnet verify CONFIG --repair` restores the attributes")  # fmt: skip
    units: list[str | None] = frame.attributes(channels=bool(lead))[UNITS]
    return units


def _read(store: RemoteStore | Path, key: str) -> bytes:
    if isinstance(store, Path):
        return (store / key).read_bytes()
    found = sync(store.get(key, default_buffer_prototype()))
    if found is None:
        raise FileNotFoundError(key)
    return bytes(found.to_bytes())
