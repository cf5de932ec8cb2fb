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
from tiff_files import (
    GREY,
    appended,
    binary_only,
    bits,
    broken_chain,
    colours,
    cut,
    grey_palette,
    imagej,
    inverted,
    lost_member,
    lzw,
    mixed,
    named,
    ome_set,
    one_white,
    other_size,
    other_type,
    pages,
    pyramid,
    stale_count,
    thumbnail,
    turned,
    two_images,
    virtual_stack,
)

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, whole
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request, Source


def opened(path: Path, field: str = "--raw", dataset: str | None = None, axes: tuple[str, ...] | None = None) -> Source:
    return open_source(Request(str(path), field, dataset, axes=axes))


def voxels(source: Source) -> NDArray[Any]:
    inside = Box((3, 5, 7), (11, 20, 40))
    everything = source.read(whole(source.shape))
    assert np.array_equal(source.read(inside), everything[inside.slices()])
    return everything


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


def test_an_image_of_several_is_chosen_by_its_number(tmp_path: Path) -> None:
    path = two_images(tmp_path / "v.ome.tif")
    with pytest.raises(InputError, match=r"--raw-dataset.*\[20, 30, 44\]"):
        opened(path)
    assert np.array_equal(voxels(opened(path, dataset="1")), RAW)
    with pytest.raises(InputError, match="raw-dataset"):
        opened(path, dataset="2")


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
    "OME metadata elsewhere": (binary_only, "BinaryOnly"),
    "more pages than stated": (stale_count, "8 pages, as its metadata state"),
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
    longs = {256: side, 257: side, 273: 1024, 278: side, 279: side * side}
    shorts = {258: 8, 259: 1, 262: 1, 277: 1}
    tags = [(code, 4, 1, value) for code, value in longs.items()] + [(code, 3, 1, v) for code, v in shorts.items()]
    tags = sorted([*tags, (270, 2, len(text), 250)])
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
