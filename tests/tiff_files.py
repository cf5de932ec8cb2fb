"""TIFF files as programs write them, whole and broken, for tests of the import."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from source_files import RAW, SHAPE, tifffile

GREY: dict[str, Any] = {"photometric": "minisblack"}


def appended(path: Path, **options: Any) -> Path:
    """RAW in pieces of 8, 8 and 4 sections, as an acquisition appends them."""
    for first in range(0, SHAPE[0], 8):
        tifffile.imwrite(path, RAW[first : first + 8], append=first > 0, **GREY, **options)
    return path


def pages(path: Path, sections: NDArray[Any] = RAW, **options: Any) -> Path:
    """One page per section, without any metadata."""
    with tifffile.TiffWriter(path) as file:
        for section in sections:
            file.write(section, contiguous=False, metadata=None, **{**GREY, **options})
    return path


def mixed(path: Path) -> Path:
    """Pages of which every other one is compressed."""
    with tifffile.TiffWriter(path) as file:
        for z, section in enumerate(RAW):
            file.write(section, contiguous=False, metadata=None, compression="zlib" if z % 2 else None, **GREY)
    return path


def named(axes: str) -> Callable[[Path], Path]:
    """RAW stored with the axes of `axes`, of which those besides z, y and x have length 1."""

    def write(path: Path) -> Path:
        order = [a for a in axes if a in "ZYX"]
        data = np.transpose(RAW, ["ZYX".index(a) for a in order])
        shape = [data.shape[order.index(a)] if a in order else 1 for a in axes]
        tifffile.imwrite(path, data.reshape(shape), metadata={"axes": axes}, **GREY)
        return path

    return write


def imagej(path: Path, **metadata: Any) -> Path:
    tifffile.imwrite(path, RAW, imagej=True, metadata={"axes": "ZYX", **metadata})
    return path


def virtual_stack(path: Path) -> Path:
    """As ImageJ writes stacks of more than 4 GB: one page, all other sections behind it without pages."""
    imagej(path)
    with tifffile.TiffFile(path) as file:
        first, count = file.pages[0], len(file.pages[0].tags)
        assert first.dataoffsets[0] + RAW.size <= os.path.getsize(path)
        place, order = first.offset + 2 + 12 * count, file.byteorder
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack(f"{order}I", 0)
    path.write_bytes(content)
    return path


def pyramid(path: Path) -> Path:
    """Sections with a smaller copy each, in SubIFDs."""
    with tifffile.TiffWriter(path) as file:
        file.write(RAW, subifds=1, compression="zlib", metadata={"axes": "ZYX"}, **GREY)
        file.write(RAW[:, ::2, ::2], subfiletype=1, compression="zlib", **GREY)
    return path


def thumbnail(path: Path) -> Path:
    """A smaller copy of the first section before all sections, marked as such."""
    with tifffile.TiffWriter(path) as file:
        file.write(RAW[0, ::2, ::2], subfiletype=1, metadata=None, **GREY)
        for section in RAW:
            file.write(section, contiguous=False, metadata=None, **GREY)
    return path


def inverted(path: Path) -> Path:
    return pages(path, 255 - RAW, photometric="miniswhite")


def grey_palette(path: Path) -> Path:
    ramp = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 3, axis=0)
    return pages(path, RAW, photometric="palette", colormap=ramp)


def ome_set(path: Path) -> Path:
    """An OME-TIFF in two files."""
    xml = ome_xml([("a", 10, path.name), ("b", 10, "second.ome.tif")])
    for z, name in ((0, path), (10, path.parent / "second.ome.tif")):
        with tifffile.TiffWriter(name) as file:
            for i, section in enumerate(RAW[z : z + 10]):
                text = xml if i == 0 else None
                more = {"description": text.encode()} if text else {}
                file.write(section, contiguous=False, metadata=None, **more, **GREY)
    return path


def ome_xml(files: list[tuple[str, int, str]]) -> str:
    data = "".join(
        f'<TiffData FirstZ="{10 * i}" IFD="0" PlaneCount="{count}"><UUID FileName="{name}">urn:uuid:{uuid}</UUID>'
        "</TiffData>"
        for i, (uuid, count, name) in enumerate(files)
    )
    z, y, x = SHAPE
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{x}" SizeY="{y}" '
        f'SizeZ="{z}" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )


def two_images(path: Path) -> Path:
    """An OME-TIFF whose first image is an overview."""
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(RAW[::2, ::3, ::3], metadata={"axes": "ZYX"}, **GREY)
        file.write(RAW, metadata={"axes": "ZYX"}, **GREY)
    return path


def other_size(path: Path) -> Path:
    with tifffile.TiffWriter(path) as file:
        for z, section in enumerate(RAW):
            file.write(section[: 29 if z == 7 else 30], contiguous=False, metadata=None, **GREY)
    return path


def other_type(path: Path) -> Path:
    with tifffile.TiffWriter(path) as file:
        for z, section in enumerate(RAW):
            file.write(section.astype("u2" if z == 7 else "u1"), contiguous=False, metadata=None, **GREY)
    return path


def one_white(path: Path) -> Path:
    with tifffile.TiffWriter(path) as file:
        for z, section in enumerate(RAW):
            kind = "miniswhite" if z == 7 else "minisblack"
            file.write(section, contiguous=False, metadata=None, photometric=kind)
    return path


def lost_member(path: Path) -> Path:
    ome_set(path)
    (path.parent / "second.ome.tif").unlink()
    return path


def binary_only(path: Path) -> Path:
    """One file of a set whose metadata are in another file."""
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:b">'
        '<BinaryOnly MetadataFile="all.companion.ome" UUID="urn:uuid:a"/></OME>'
    )
    with tifffile.TiffWriter(path) as file:
        for i, section in enumerate(RAW[:10]):
            more = {"description": text.encode()} if i == 0 else {}
            file.write(section, contiguous=False, metadata=None, **more, **GREY)
    return path


def stale_count(path: Path) -> Path:
    """A stack of 20 pages that says it has 8, as if it had been appended to."""
    text = "ImageJ=1.53t\nimages=8\nslices=8\n"
    with tifffile.TiffWriter(path) as file:
        for i, section in enumerate(RAW):
            more = {"description": text} if i == 0 else {}
            file.write(section, contiguous=False, metadata=None, **more, **GREY)
    return path


def cut(path: Path) -> Path:
    pages(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def broken_chain(path: Path) -> Path:
    """The tenth page points nowhere, so that later ones are lost."""
    pages(path)
    with tifffile.TiffFile(path) as file:
        page, order = file.pages[9], file.byteorder
        place = page.offset + 2 + 12 * len(page.tags)
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack(f"{order}I", 2**31)
    path.write_bytes(content)
    return path


def colours(path: Path) -> Path:
    ramp = np.zeros((3, 256), np.uint16)
    ramp[0] = np.arange(256) * 257
    return pages(path, RAW, photometric="palette", colormap=ramp)


def turned(path: Path) -> Path:
    return pages(path, RAW, extratags=[(274, 3, 1, 3, True)])


def bits(path: Path) -> Path:
    """Pages of one bit per pixel, as Pillow writes them."""
    frames = [Image.fromarray(section > 127) for section in RAW]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def lzw(path: Path) -> Path:
    frames = [Image.fromarray(section) for section in RAW]
    frames[0].save(path, save_all=True, append_images=frames[1:], compression="tiff_lzw")
    return path
