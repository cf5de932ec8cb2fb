"""N5 volumes, written by hand.

Blocks and `attributes.json`: github.com/saalfeldlab/n5, "File-system specification": x first, big-endian values behind
a header of mode, number of axes and lengths. What says where a volume lies:

- `flat`: `resolution`, `offset`, `units`, `axes` on the dataset (funlib, CREMI and cloud tools).
- `viewer`: `pixelResolution` with a unit (n5-viewer, N5-ij); there is no offset.
- `cosem`: `transform` with axes in C order (github.com/janelia-cosem, "N5 metadata"); its `translate` places
  centres of voxels, that of the finest level is taken as its offset.
- `paintera`: `resolution` and `offset` on the folder `data` above the levels (github.com/saalfeldlab/paintera).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lab_files.specimen import Rendered, Truth, chunks_of, shortest

COMPRESSIONS: dict[str, tuple[dict[str, Any], Callable[[bytes], bytes]]] = {
    "raw": ({"type": "raw"}, bytes),
    "gzip": ({"type": "gzip", "level": 2}, lambda b: gzip.compress(b, 2)),
    "zlib": ({"type": "gzip", "level": 2, "useZlib": True}, lambda b: zlib.compress(b, 2)),
    "bzip2": ({"type": "bzip2", "blockSize": 1}, lambda b: bz2.compress(b, 1)),
    "xz": ({"type": "xz", "preset": 1}, lambda b: lzma.compress(b, preset=1)),
}
CHECKED = ("gzip", "zlib", "bzip2", "xz")


@dataclass
class N5Volume:
    """The choices of a writer of one N5 volume.

    Attributes:
        truth: what is right to read.
        style: see the docstring of this module.
        axes: names of the stored axes, x first as N5 counts them.
        says_axes: `flat`: the attribute `axes` is there. Without it the order is x, y, z.
        shown: axis -> its name as the file spells it.
        block: per stored axis.
        compression: a key of `COMPRESSIONS`.
        unit: axis -> (spelling, nm per unit).
        says_units: `flat`: the attribute `units` is there; without it numbers are nm.
        parts: names of the groups above the dataset.
        name: of the dataset.
        factors: `viewer`: how much coarser, xyz, the dataset is than the level whose size is stated.
        sparse: blocks that hold only 0 have no file.
        extra_root: attributes of the root.
        broken: attributes that replace others; a value of None drops one.
    """

    truth: Truth
    style: str = "flat"
    axes: list[str] = field(default_factory=lambda: ["x", "y", "z"])
    says_axes: bool = True
    shown: dict[str, str] = field(default_factory=dict)
    block: tuple[int, ...] = (8, 6, 4)
    compression: str = "gzip"
    unit: dict[str, tuple[str, float]] = field(default_factory=lambda: dict.fromkeys("zyx", ("nm", 1.0)))
    says_units: bool = True
    parts: tuple[str, ...] = ("volumes",)
    name: str = "raw"
    factors: tuple[int, int, int] = (1, 1, 1)
    sparse: bool = False
    extra_root: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, Any] = field(default_factory=dict)


def render(volume: N5Volume) -> Rendered:
    """The files of a volume."""
    stored = np.transpose(volume.truth.voxels, ["zyx".index(a) for a in volume.axes])
    folder, above = "/".join(("c.n5", *volume.parts, volume.name)), {}
    if volume.style == "paintera":
        folder = "/".join(("c.n5", *volume.parts, "raw", "data", "s0"))
        above = _paintera(volume, folder.removesuffix("/data/s0"))
    settings, encode = COMPRESSIONS[volume.compression]
    attributes: dict[str, Any] = {
        "dimensions": list(stored.shape),
        "blockSize": list(volume.block),
        "dataType": stored.dtype.name,
        "compression": settings,
    }
    attributes |= _STYLES[volume.style](volume)
    attributes = {k: v for k, v in (attributes | volume.broken).items() if v is not None and k != "above"}
    files = {}
    for index, part in chunks_of(stored, volume.block):
        if volume.sparse and not part.any():
            continue
        body = part.astype(part.dtype.newbyteorder(">")).tobytes(order="F")
        header = struct.pack(f">HH{part.ndim}I", 0, part.ndim, *part.shape)
        files["/".join((folder, *map(str, index)))] = header + encode(body)
    documents = {"c.n5/attributes.json": {"n5": "2.5.1", **volume.extra_root}, f"{folder}/attributes.json": attributes}
    return Rendered(documents | above, files, folder, "n5")


def _numbers(volume: N5Volume, values: tuple[float, float, float], axes: list[str] | str) -> list[int | float]:
    return [shortest(values["zyx".index(a)] / volume.unit[a][1]) for a in axes]


def _flat(volume: N5Volume) -> dict[str, Any]:
    assert volume.truth.voxel_size is not None
    found: dict[str, Any] = {
        "resolution": _numbers(volume, volume.truth.voxel_size, volume.axes),
        "offset": _numbers(volume, volume.truth.offset, volume.axes),
    }
    if volume.says_units:
        found["units"] = [volume.unit[a][0] for a in volume.axes]
    if volume.says_axes:
        found["axes"] = [volume.shown.get(a, a) for a in volume.axes]
    return found


def _viewer(volume: N5Volume) -> dict[str, Any]:
    assert volume.truth.voxel_size is not None
    numbers = _numbers(volume, volume.truth.voxel_size, volume.axes)
    finest = [shortest(n / f) for n, f in zip(numbers, volume.factors, strict=True)]
    found: dict[str, Any] = {"pixelResolution": {"dimensions": finest, "unit": volume.unit["x"][0]}}
    return found | ({"downsamplingFactors": list(volume.factors)} if volume.factors != (1, 1, 1) else {})


def _cosem(volume: N5Volume) -> dict[str, Any]:
    assert volume.truth.voxel_size is not None
    order = volume.axes[::-1]
    return {
        "transform": {
            "axes": [volume.shown.get(a, a) for a in order],
            "scale": _numbers(volume, volume.truth.voxel_size, order),
            "translate": _numbers(volume, volume.truth.offset, order),
            "units": [volume.unit[a][0] for a in order],
        }
    }


def _paintera(volume: N5Volume, folder: str) -> dict[str, Any]:
    assert volume.truth.voxel_size is not None
    place = {
        "multiScale": True,
        "resolution": _numbers(volume, volume.truth.voxel_size, "xyz"),
        "offset": _numbers(volume, volume.truth.offset, "xyz"),
    }
    return {
        f"{folder}/attributes.json": {"painteraData": {"type": "raw"}, "maxNumEntries": -1},
        f"{folder}/data/attributes.json": {
            k: v for k, v in (place | volume.broken.get("above", {})).items() if v is not None
        },
    }


_STYLES: dict[str, Callable[[N5Volume], dict[str, Any]]] = {
    "flat": _flat,
    "viewer": _viewer,
    "cosem": _cosem,
    "paintera": lambda volume: {},
}
