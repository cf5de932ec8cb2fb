"""Changes of an HDF5 file that need the finished file."""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np
from lab_files.hdf5_volumes import Hdf5Volume, render
from lab_files.specimen import Rendered


def rendered(volume: Hdf5Volume) -> Rendered:
    """The files; marks of the changes that need the finished file are taken out of the attributes."""
    marks = {key: volume.attributes.pop(key) for key in ("corrupt", "second", "values") if key in volume.attributes}
    files = render(volume)
    if marks:
        files.files["v.h5"] = _marked(files.files["v.h5"], volume, marks)
    return files


def _marked(content: bytes, volume: Hdf5Volume, marks: dict[str, Any]) -> bytes:
    buffer = io.BytesIO(content)
    place = 0
    with h5py.File(buffer, "r+") as file:
        if "second" in marks:
            file["z/other"] = np.zeros((3, 4, 5), np.uint8)
        if "values" in marks:
            del file[volume.dataset]
            kinds: dict[str, Any] = {"text": "S4", "compound": [("a", "u1"), ("b", "f4")], "complex": "c8"}
            node = file.create_dataset(volume.dataset, data=np.zeros((6, 10, 14), kinds[marks["values"]]))
            node.attrs["resolution"] = [40.0, 8.0, 4.0]
        if "corrupt" in marks:
            node = file[volume.dataset]
            assert isinstance(node, h5py.Dataset)
            chunk = node.id.get_chunk_info(int(marks["corrupt"] * node.id.get_num_chunks()))
            place = chunk.byte_offset + chunk.size // 2
    changed = bytearray(buffer.getvalue())
    if place:
        changed[place] ^= 0x55
    return bytes(changed)
