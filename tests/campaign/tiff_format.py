"""The row of TIFF, and its changes."""

from __future__ import annotations

import dataclasses
import io
import random
import struct
from typing import Any

import numpy as np
import tifffile
from lab_files.specimen import Rendered, truth_of
from lab_files.tiff_volumes import TiffVolume, render

from campaign import path_changes
from campaign.mutation import Changes, Format, cut_off

#: What ImageJ itself writes (ij.measure.Calibration), and what OME-XML lists (UnitsLength), each with nm per unit.
IMAGEJ_UNITS = (
    ("um", 1e3),
    ("micron", 1e3),
    ("nm", 1.0),
    ("\\u00B5m", 1e3),
    ("mm", 1e6),
    ("microns", 1e3),
    ("cm", 1e7),
)
OME_UNITS = (("µm", 1e3), ("nm", 1.0), ("mm", 1e6), ("Å", 0.1), ("pm", 1e-3), ("m", 1e9), ("cm", 1e7), ("in", 25.4e6))


def _make(rng: random.Random) -> TiffVolume:
    style = rng.choice(["plain", "imagej", "ome"])
    truth = truth_of(rng, rng.choice(["uint8", "uint8", "uint16"]))
    if style != "plain":
        truth = truth.at((0.0, 0.0, 0.0))  # they state no offset
    return TiffVolume(truth, style, unit=("µm", 1e3) if style == "ome" else ("um", 1e3))


def _stated(volume: TiffVolume) -> bool:
    return volume.style in ("imagej", "ome")


#: Other ways to store and to state the same.
SAME_MEANING = Changes()


@SAME_MEANING.preserving("the other byte order", lambda v: v.style != "imagej")
def _endian(volume: TiffVolume, rng: random.Random) -> None:
    volume.big_endian = not volume.big_endian


@SAME_MEANING.preserving("BigTIFF", lambda v: v.style != "imagej")
def _bigtiff(volume: TiffVolume, rng: random.Random) -> None:
    volume.bigtiff = True


@SAME_MEANING.preserving("compression zlib", lambda v: v.style != "imagej")
def _zlib(volume: TiffVolume, rng: random.Random) -> None:
    volume.compression, volume.contiguous = "zlib", False


@SAME_MEANING.preserving("rows per strip", lambda v: v.tile is None and v.style != "imagej")
def _rows(volume: TiffVolume, rng: random.Random) -> None:
    volume.rows, volume.contiguous = rng.randint(1, 12), False


@SAME_MEANING.preserving("tiles", lambda v: v.rows is None and v.style != "imagej")
def _tiles(volume: TiffVolume, rng: random.Random) -> None:
    volume.tile, volume.contiguous = rng.choice([(16, 16), (16, 32)]), False


@SAME_MEANING.preserving("pages one by one", lambda v: v.style == "plain")
def _pages(volume: TiffVolume, rng: random.Random) -> None:
    volume.contiguous = False


@SAME_MEANING.preserving("another spelling of the unit, the same length", _stated)
def _unit(volume: TiffVolume, rng: random.Random) -> None:
    volume.unit = rng.choice(IMAGEJ_UNITS if volume.style == "imagej" else OME_UNITS)


@SAME_MEANING.preserving("another ending of the name")
def _ending(volume: TiffVolume, rng: random.Random) -> None:
    ome = ["v.ome.tif", "v.ome.tiff"] if volume.style == "ome" else []
    volume.name = rng.choice(["v.tiff", "V.TIF", "v 1.tif", *ome])


@SAME_MEANING.preserving("more keys of the program", _stated)
def _keys(volume: TiffVolume, rng: random.Random) -> None:
    more: dict[str, Any] = {"Info": "note"} if volume.style == "imagej" else {"Description": "note", "Name": "em"}
    volume.metadata |= more


@SAME_MEANING.preserving("bytes after the file", on_files=True)
def _appended(files: Rendered, rng: random.Random) -> None:
    files.files[files.path] += b"\0" * rng.choice([1, 7, 1000])


@SAME_MEANING.preserving("coarser levels as SubIFDs", lambda v: v.style == "ome")
def _levels(volume: TiffVolume, rng: random.Random) -> None:
    volume.levels = rng.choice([1, 2])


@SAME_MEANING.undecidable("white is zero, and values inverted", exact=True)
def _white(volume: TiffVolume, rng: random.Random) -> None:
    volume.white_is_zero = True


@SAME_MEANING.undecidable("written in appended pieces", lambda v: v.style == "plain" and not v.compression, exact=True)
def _pieces(volume: TiffVolume, rng: random.Random) -> None:
    volume.pieces, volume.contiguous = rng.choice([2, 3]), rng.random() < 0.5


@SAME_MEANING.undecidable("compression LZW", lambda v: v.style != "imagej", exact=True)
def _lzw(volume: TiffVolume, rng: random.Random) -> None:
    volume.broken.append(("compression", "lzw"))


@SAME_MEANING.undecidable("slices called times or channels", lambda v: v.style == "imagej", exact=True)
def _slices(volume: TiffVolume, rng: random.Random) -> None:
    volume.metadata["axes"] = rng.choice(["TYX", "CYX"])


#: Lost pages, colours, and sizes that are none.
NO_MEANING = Changes()


@NO_MEANING.destroying("colours")
def _colours(volume: TiffVolume, rng: random.Random) -> None:
    volume.broken.append(("file", rng.choice(["rgb", "channels", "times"])))


@NO_MEANING.destroying("a page of another size")
def _size(volume: TiffVolume, rng: random.Random) -> None:
    volume.broken.append(("file", "sizes"))


@NO_MEANING.destroying("a page of another type")
def _types(volume: TiffVolume, rng: random.Random) -> None:
    volume.broken.append(("file", "types"))


@NO_MEANING.destroying("two images of one file, the first an overview")
def _overview(volume: TiffVolume, rng: random.Random) -> None:
    volume.broken.append(("file", "overview"))


@NO_MEANING.destroying("a file cut off", on_files=True)
def _cut(files: Rendered, rng: random.Random) -> None:
    cut_off(files, rng)


@NO_MEANING.destroying("a file that is no TIFF", on_files=True)
def _no_file(files: Rendered, rng: random.Random) -> None:
    files.files[files.path] = rng.choice(
        [b"", b"hello", b"\x89PNG\r\n\x1a\n" * 90, b"II*\0", b"MM\0*\0\0\0\x08", b"\0" * 900]
    )


@NO_MEANING.destroying("changed bytes in a zlib page", lambda v: v.style != "imagej")
def _corrupt(volume: TiffVolume, rng: random.Random) -> None:
    volume.compression, volume.contiguous, volume.tile, volume.rows = "zlib", False, None, None
    volume.broken.append(("corrupt", str(rng.random())))


@NO_MEANING.destroying("a unit that is no length", _stated)
def _unit(volume: TiffVolume, rng: random.Random) -> None:
    volume.unit = (rng.choice(["banana", "pixel", "kg", "sec", "reference frame"]), 1e3)


@NO_MEANING.destroying("a voxel size that is no size", _stated)
def _no_size(volume: TiffVolume, rng: random.Random) -> None:
    wrong = rng.choice([0.0, -0.04, float("nan"), float("inf"), "wide"])
    volume.metadata["spacing" if volume.style == "imagej" else f"PhysicalSize{rng.choice('XYZ')}"] = wrong


@NO_MEANING.destroying("a voxel size for some axes only", _stated)
def _some(volume: TiffVolume, rng: random.Random) -> None:
    volume.broken.append(("size", "some"))


#: Bytes of the container.
UNDECIDABLE = Changes()


@UNDECIDABLE.undecidable("bytes of the file flipped", on_files=True, native=True)
def _flip(files: Rendered, rng: random.Random) -> None:
    content = bytearray(files.files[files.path])
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    files.files[files.path] = bytes(content)


@UNDECIDABLE.undecidable("bytes of the first directory exchanged", on_files=True, native=True)
def _directory(files: Rendered, rng: random.Random) -> None:
    content = bytearray(files.files[files.path])
    order = "<" if content[:2] == b"II" else ">"
    start = struct.unpack(f"{order}I", content[4:8])[0] if content[2:4] in (b"*\0", b"\0*") else 16
    for _ in range(rng.randint(1, 4)):
        content[min(start + rng.randrange(200), len(content) - 1)] = rng.randrange(256)
    files.files[files.path] = bytes(content)


@UNDECIDABLE.undecidable("text of the description exchanged", lambda f: True, on_files=True, native=True)
def _text(files: Rendered, rng: random.Random) -> None:
    content = bytearray(files.files[files.path])
    begin = max(content.find(b"<?xml"), content.find(b"ImageJ="), 0)
    for _ in range(rng.randint(1, 5)):
        content[min(begin + rng.randrange(400), len(content) - 1)] = rng.choice(b'<>"=0x\0\n&;')
    files.files[files.path] = bytes(content)


@UNDECIDABLE.undecidable("the order of dimensions exchanged", lambda v: v.style == "ome")
def _order(volume: TiffVolume, rng: random.Random) -> None:
    volume.broken.append(("text", rng.choice(["SizeZ", "SizeT", "DimensionOrder", "Pixels", "TiffData"])))


def rendered(volume: TiffVolume) -> Rendered:
    """The file; what the marks in `broken` ask for is written by hand."""
    marks = dict(volume.broken)
    volume.broken = []
    if "file" in marks:
        files = render(dataclasses.replace(volume, style="plain"))
        files.files[volume.name] = _other_file(volume, marks["file"])
        return files
    files = render(volume)
    content = files.files[volume.name]
    if "compression" in marks:  # a tag of one SHORT: 259, type 3, count 1, value 1 (none) becomes 5 (LZW)
        order = ">" if volume.big_endian else "<"
        count, old, lzw = ("Q" if volume.bigtiff else "I"), 8 if volume.compression else 1, 5
        head = struct.pack(f"{order}HH{count}", 259, 3, 1)
        content = content.replace(head + struct.pack(f"{order}H", old), head + struct.pack(f"{order}H", lzw))
    if "corrupt" in marks:
        content = _corrupted(content, float(marks["corrupt"]))
    if "size" in marks:
        content = content.replace(b"PhysicalSizeZ=", b"PhysicalWhat_=").replace(b"spacing=", b"spaking=")
    if "text" in marks:
        content = content.replace(marks["text"].encode(), marks["text"].encode()[::-1])
    files.files[volume.name] = content
    return files


def _other_file(volume: TiffVolume, kind: str) -> bytes:
    """A file whose pages are no stack of grey sections."""
    buffer, voxels = io.BytesIO(), volume.truth.voxels
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": None, "contiguous": False}
    if kind == "rgb":
        tifffile.imwrite(buffer, np.stack([voxels] * 3, -1), photometric="rgb")
    elif kind in ("channels", "times"):
        axes = "ZCYX" if kind == "channels" else "TZYX"
        data = np.stack([voxels] * 2, 1 if kind == "channels" else 0)
        tifffile.imwrite(buffer, data, imagej=True, metadata={"axes": axes})
    else:
        with tifffile.TiffWriter(buffer, ome=kind == "overview") as writer:
            if kind == "overview":
                writer.write(voxels[:, ::2, ::2], photometric="minisblack", metadata={"axes": "ZYX"})
                writer.write(voxels, photometric="minisblack", metadata={"axes": "ZYX"})
            else:
                for z, page in enumerate(voxels):
                    last = z == len(voxels) - 1
                    other = page[:-2] if kind == "sizes" else page.astype("float32")
                    writer.write(other if last else page, **options)
    return buffer.getvalue()


def _corrupted(content: bytes, place: float) -> bytes:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[int(place * len(file.pages))]
        begin, length = page.dataoffsets[0], page.databytecounts[0]
    changed = bytearray(content)
    changed[begin + length // 2] ^= 0x55
    return bytes(changed)


def formats() -> list[Format]:
    """The row of TIFF."""
    return [Format("TIFF", _make, rendered, (SAME_MEANING, NO_MEANING, UNDECIDABLE, path_changes.ANY_PATH))]
