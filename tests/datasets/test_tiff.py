"""TIFF files as programs write them: pieces, images, axes, the meaning of black, lost parts."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from source_files import IDS, RAW, SHAPE, tifffile, write_folder

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, whole
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request, Source

GREY: dict[str, Any] = {"photometric": "minisblack"}


def opened(path: Path, field: str = "--raw", dataset: str | None = None, axes: tuple[str, ...] | None = None) -> Source:
    return open_source(Request(str(path), field, dataset, axes=axes))


def voxels(source: Source) -> NDArray[Any]:
    inside = Box((3, 5, 7), (11, 20, 40))
    everything = source.read(whole(source.shape))
    assert np.array_equal(source.read(inside), everything[inside.slices()])
    return everything


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


READ: dict[str, Callable[[Path], Path]] = {
    "appended": appended,
    "appended, compressed": lambda p: appended(p, compression="zlib"),
    "appended, one directory per piece": lambda p: appended(p, metadata={"truncate": True}),
    "pages": pages,
    "pages of two compressions": mixed,
    "big-endian": lambda p: (tifffile.imwrite(p, RAW, byteorder=">", **GREY), p)[1],
    "ZYX": named("ZYX"),
    "CZYX": named("CZYX"),
    "ZCYX": named("ZCYX"),
    "TZYX": named("TZYX"),
    "TZCYX": named("TZCYX"),
    "XYZ": named("XYZ"),
    "YXZ": named("YXZ"),
    "YZX": named("YZX"),
    "ImageJ": imagej,
    "ImageJ without pages": virtual_stack,
    "pyramid": pyramid,
    "thumbnail": thumbnail,
    "white is zero": inverted,
    "palette of greys": grey_palette,
    "OME in two files": ome_set,
}


@pytest.mark.parametrize("case", READ)
def test_all_sections_come_in_order(tmp_path: Path, case: str) -> None:
    path = READ[case](tmp_path / ("first.ome.tif" if "OME" in case else "v.tif"))
    source = opened(path)
    assert source.shape == SHAPE and source.dtype == np.uint8
    assert np.array_equal(voxels(source), RAW)


def two_images(path: Path) -> Path:
    """An OME-TIFF whose first image is an overview."""
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(RAW[::2, ::3, ::3], metadata={"axes": "ZYX"}, **GREY)
        file.write(RAW, metadata={"axes": "ZYX"}, **GREY)
    return path


def test_an_image_of_several_is_chosen_by_its_number(tmp_path: Path) -> None:
    path = two_images(tmp_path / "v.ome.tif")
    with pytest.raises(InputError, match=r"--raw-dataset.*\[20, 30, 44\]"):
        opened(path)
    assert np.array_equal(voxels(opened(path, dataset="1")), RAW)
    with pytest.raises(InputError, match="raw-dataset"):
        opened(path, dataset="2")


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


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a page of another size": (other_size, "one shape and type"),
    "a page of another type": (other_type, "one shape and type"),
    "a page with white as zero": (one_white, "one shape and type"),
    "channels": (lambda p: (tifffile.imwrite(p, RAW, metadata={"axes": "CYX"}, **GREY), p)[1], "axes"),
    "times": (lambda p: (tifffile.imwrite(p, RAW, metadata={"axes": "TYX"}, **GREY), p)[1], "--axes z,y,x"),
    "times in ImageJ": (
        lambda p: (tifffile.imwrite(p, RAW, imagej=True, metadata={"axes": "TYX"}), p)[1],
        "--axes z,y,x",
    ),
    "colours": (lambda p: (tifffile.imwrite(p, np.stack([RAW] * 3, -1), photometric="rgb"), p)[1], "grey"),
    "a palette of colours": (colours, "palette"),
    "a file of an OME set is lost": (lost_member, "all files of its set"),
    "cut off": (cut, "whole|cut off|fetch"),
    "a broken chain of pages": (broken_chain, "whole TIFF file"),
    "turned": (turned, "orientation 3"),
    "one bit": (bits, "8, 16, 32 or 64 bits"),
    "signed white as zero": (lambda p: pages(p, RAW.astype("i2"), photometric="miniswhite"), "WhiteIsZero"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_no_whole_grey_volume_are_refused(tmp_path: Path, case: str) -> None:
    write, said = REFUSED[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write(tmp_path / ("first.ome.tif" if "OME" in case else "v.tif"))
    with pytest.raises(InputError, match=said):
        opened(path)


def test_compressions_that_cannot_be_decoded_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = lzw(tmp_path / "v.tif")
    (tmp_path / "f").mkdir()
    for z, section in enumerate(RAW[:3]):
        Image.fromarray(section).save(tmp_path / "f" / f"{z}.tif", compression="tiff_lzw")
    for place, expected in ((path, RAW), (tmp_path / "f", RAW[:3])):
        try:
            import imagecodecs  # noqa: F401
        except ImportError:
            with pytest.raises(InputError, match="pip install imagecodecs"):
                opened(place)
        else:
            assert np.array_equal(voxels(opened(place)), expected)


def test_times_are_sections_if_the_user_says_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", RAW, imagej=True, metadata={"axes": "TYX"})
    assert np.array_equal(voxels(opened(tmp_path / "t.tif", axes=("z", "y", "x"))), RAW)


def test_ids_keep_their_palette_number_but_are_never_inverted(tmp_path: Path) -> None:
    ids = (IDS // 1000).astype(np.uint8)
    ramp = np.zeros((3, 256), np.uint16)
    ramp[1] = np.arange(256)[::-1] * 257
    path = pages(tmp_path / "l.tif", ids, photometric="palette", colormap=ramp)
    assert np.array_equal(voxels(opened(path, "--labels")), ids)
    with pytest.raises(InputError, match="WhiteIsZero"):
        opened(pages(tmp_path / "w.tif", ids, photometric="miniswhite"), "--labels")


def test_a_stack_of_more_than_four_gigabytes_is_read_to_its_end(tmp_path: Path) -> None:
    """ImageJ's virtual stack with 2^32 + bytes, as a sparse file."""
    sections, side = 80, 8192
    text = f"ImageJ=1.53t\nimages={sections}\nslices={sections}\n".encode() + b"\0"
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (270, 2, len(text), 250), (273, 4, 1, 1024), (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, side * side)]  # fmt: skip
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags))
    for code, kind, count, value in tags:
        head += struct.pack("<HHII", code, kind, count, value)
    head = (head + struct.pack("<I", 0)).ljust(250, b"\0") + text
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.write(head)
        file.seek(1024 + side * side * sections - 1)
        file.write(b"\x07")
    source = opened(path)
    assert source.shape == (sections, side, side) and side * side * sections > 2**32
    last = source.read(Box((79, side - 1, side - 2), (80, side, side)))
    assert last.tolist() == [[[0, 7]]]
    os.truncate(path, side * side * 40)
    with pytest.raises(InputError, match=r"large\.tif"):
        opened(path)


PNG: dict[str, tuple[Callable[[NDArray[Any]], Image.Image], str]] = {
    "alpha": (lambda s: Image.fromarray(np.stack([s, s], -1), "LA"), "without transparency"),
    "colour": (lambda s: Image.fromarray(np.stack([s] * 3, -1)), "grey picture"),
    "palette of colours": (lambda s: paletted(s, [0, 0, 0, 9, 0, 0, 0, 9, 0]), "palette"),
}


def paletted(section: NDArray[Any], colours: list[int]) -> Image.Image:
    picture = Image.fromarray(section % 3, "P")
    picture.putpalette(colours)
    return picture


@pytest.mark.parametrize("case", PNG)
def test_pictures_that_are_not_grey_are_refused(tmp_path: Path, case: str) -> None:
    make, said = PNG[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for z, section in enumerate(RAW[:3]):
            make(section).save(tmp_path / f"s{z}.png")
    with pytest.raises(InputError, match=said):
        opened(tmp_path)


def test_a_palette_of_ids_is_read_by_its_numbers(tmp_path: Path) -> None:
    for z, section in enumerate(RAW[:3]):
        paletted(section, [0, 0, 0, 9, 0, 0, 0, 9, 0]).save(tmp_path / f"s{z}.png")
    assert np.array_equal(opened(tmp_path, "--labels").read(whole((3, 30, 44))), RAW[:3] % 3)


def test_a_folder_with_pages_links_and_other_pictures_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f.png", RAW)
    buffer = io.BytesIO()
    Image.fromarray(RAW[0]).save(buffer, "JPEG")
    (folder / "wafer4_115.jpg").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"wafer4_115\.jpg"):
        opened(folder)
    (folder / "wafer4_115.jpg").unlink()
    (folder / "wafer4_115.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"wafer4_115\.png"):
        opened(folder)
    (tmp_path / "t").mkdir()
    tifffile.imwrite(tmp_path / "t" / "s1.tif", RAW, **GREY)
    with pytest.raises(InputError, match="one grey page"):
        opened(tmp_path / "t")
