"""TIFF files of several sections, written with tifffile in memory.

Rules: "TIFF 6.0" (adobe.com; byte order, strips, tiles, PhotometricInterpretation, Compression), BigTIFF
(awaresystems.be), ImageJ's description (github.com/imagej/ImageJ, FileInfo and TiffEncoder: `spacing`, `unit`, the tags
XResolution and YResolution in pixels per unit), OME-TIFF (docs.openmicroscopy.org, `PhysicalSizeX` and its unit).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tifffile

from lab_files.specimen import Rendered, Truth


@dataclass
class TiffVolume:
    """The choices of a writer of one file.

    Attributes:
        truth: what is right to read.
        style: `plain` (the user gives the sizes), `imagej` or `ome`.
        unit: (spelling, nm per unit) of `imagej` and `ome`.
        big_endian: byte order.
        bigtiff: 64-bit offsets.
        compression: of tifffile: None, "zlib", or "lzw" and the like if imagecodecs is installed.
        rows: rows per strip; None for one strip per page.
        tile: lengths y, x; None for strips.
        predictor: horizontal differencing, with compression.
        white_is_zero: photometric interpretation 0; the stored values are inverted.
        contiguous: `plain`: one block of pixels for all pages.
        name: of the file.
        pieces: written in that many appended calls.
        levels: `ome`: number of coarser levels, as SubIFDs of each page.
        broken: of the file's XML or description: (regular expression, replacement) pairs.
        metadata: more keywords of the writer's metadata.
    """

    truth: Truth
    style: str = "plain"
    unit: tuple[str, float] = ("um", 1000.0)
    big_endian: bool = False
    bigtiff: bool = False
    compression: str | None = None
    rows: int | None = None
    tile: tuple[int, int] | None = None
    predictor: bool = False
    white_is_zero: bool = False
    contiguous: bool = True
    name: str = "v.tif"
    pieces: int = 1
    levels: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


def render(volume: TiffVolume) -> Rendered:
    """The file."""
    truth, buffer = volume.truth, io.BytesIO()
    data = ~truth.voxels if volume.white_is_zero else truth.voxels
    options: dict[str, Any] = {"photometric": "miniswhite" if volume.white_is_zero else "minisblack"}
    if volume.compression:
        options |= {"compression": volume.compression, "predictor": volume.predictor}
    if volume.rows:
        options["rowsperstrip"] = volume.rows
    if volume.tile:
        options["tile"] = volume.tile
    with tifffile.TiffWriter(
        buffer, bigtiff=volume.bigtiff, byteorder=">" if volume.big_endian else "<", imagej=volume.style == "imagej",
        ome=volume.style == "ome",
    ) as writer:  # fmt: skip
        for part in np.array_split(data, volume.pieces):
            writer.write(part, subifds=volume.levels, **options, **_STYLES[volume.style](volume))
        for level in range(volume.levels):
            writer.write(data[:, :: 2 << level, :: 2 << level], subfiletype=1, **options)
    content = buffer.getvalue()
    for pattern, new in volume.broken:
        content = replaced(content, pattern, new)
    found = Rendered({}, {volume.name: content}, volume.name, "tiff")
    if volume.style == "plain":
        found.options = {"voxel_size": truth.voxel_size, "offset": truth.offset}
    return found


def replaced(content: bytes, pattern: str, new: str) -> bytes:
    """Text of a description exchanged in place: what is shorter is filled with spaces, what is longer is no change."""

    def fitting(found: re.Match[bytes]) -> bytes:
        text = found.expand(new.encode())
        if len(text) > len(found[0]):
            raise ValueError(f"{text!r} does not fit in {found[0]!r}")
        return text + b" " * (len(found[0]) - len(text))

    return re.sub(pattern.encode(), fitting, content, count=0)


def _imagej(volume: TiffVolume) -> dict[str, Any]:
    z, y, x = volume.truth.voxel_size or (1.0, 1.0, 1.0)
    name, nm = volume.unit
    metadata = {"axes": "ZYX", "spacing": z / nm, "unit": name, **volume.metadata}
    return {"resolution": (nm / x, nm / y), "metadata": metadata}


def _ome(volume: TiffVolume) -> dict[str, Any]:
    name, nm = volume.unit
    metadata: dict[str, Any] = {"axes": "ZYX"}
    for axis, size in zip("ZYX", volume.truth.voxel_size or (), strict=False):
        metadata |= {f"PhysicalSize{axis}": size / nm, f"PhysicalSize{axis}Unit": name}
    return {"metadata": metadata | volume.metadata}


def _plain(volume: TiffVolume) -> dict[str, Any]:
    return {"metadata": None, "contiguous": volume.contiguous}


_STYLES = {"plain": _plain, "imagej": _imagej, "ome": _ome}
