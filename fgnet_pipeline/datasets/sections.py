"""Sections as pictures: folders of PNG or TIFF files, and TIFF files with several pages."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector
from fgnet_pipeline.datasets.source import Request, Size, check_three_axes, missing_package

TIFF, PNG = (".tif", ".tiff"), (".png",)
_MODES = {"L": "uint8", "I;16": "uint16", "I;16B": "uint16", "I": "int32"}


class FolderSource:
    """A folder with one picture per section, in the order of the numbers in their names (see `source.Source`).

    Raises:
        InputError: a section is missing, or the sections differ in shape or type.
    """

    by_section = True
    voxel_size: Size | None = None
    offset: Size | None = None

    def __init__(self, request: Request) -> None:
        self.path, self._field = request.path, request.field
        self._files = section_files(Path(request.path), request.field)
        headers = {_header(file, request.field) for file in self._files}
        if len(headers) > 1:
            shown = "; ".join(f"{list(shape)} {dtype}" for shape, dtype in sorted(headers))
            raise InputError(request.field, request.path, f"sections of one shape and type, not {shown}", "crop them")
        (y, x), dtype = headers.pop()
        self.shape: Vector = (len(self._files), y, x)
        self.dtype = np.dtype(dtype)

    def read(self, box: Box) -> NDArray[Any]:
        _, y, x = box.slices()
        return np.stack([self._section(self._files[z])[y, x] for z in range(box.begin[0], box.end[0])])

    def _section(self, file: Path) -> NDArray[Any]:
        try:
            return _pixels(file)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(self._field, str(file), "a whole picture", f"replace it ({error})") from error


class TiffSource:
    """A TIFF file with one section per page, or with one uncompressed array (see `source.Source`).

    Raises:
        InputError: the file cannot be read, has colours, or has not three axes.
    """

    voxel_size: Size | None = None
    offset: Size | None = None

    def __init__(self, request: Request) -> None:
        self.path, self._field = request.path, request.field
        tifffile = _tifffile(request.field, request.path)
        try:
            self._file = tifffile.TiffFile(request.path)
            series = self._file.series[0]
        except (OSError, ValueError, IndexError) as error:
            remedy = f"check the path ({error})"
            raise InputError(request.field, request.path, "a readable TIFF file", remedy) from error
        if "S" in series.axes:
            raise InputError(request.field, self.path, "one grey channel", "convert it: colours carry no ids here")
        self.shape = check_three_axes(request.field, self.path, series.shape)
        self.dtype = np.dtype(series.dtype)
        self._pages = series.pages
        contiguous = series.dataoffset is not None and self.dtype.isnative
        self._mapped = tifffile.memmap(request.path, mode="r", series=0) if contiguous else None
        self.by_section = self._mapped is None

    def read(self, box: Box) -> NDArray[Any]:
        if self._mapped is not None:
            return np.asarray(self._mapped[box.slices()])
        _, y, x = box.slices()
        return np.stack([self._page(z)[y, x] for z in range(box.begin[0], box.end[0])])

    def _page(self, z: int) -> NDArray[Any]:
        try:
            page: NDArray[Any] = self._pages[z].asarray()
        except Exception as error:  # each codec raises its own kind
            raise InputError(self._field, f"{self.path}, page {z}", "a whole page", f"replace it ({error})") from error
        return page


def section_files(folder: Path, field: str) -> list[Path]:
    """The pictures of a folder, sorted by the last number in their names.

    Args:
        folder: of the pictures; hidden files are ignored.
        field: the option to name in errors.

    Raises:
        InputError: there are none, there are both PNG and TIFF files, two have the same number, or a number is left
            out, which would shift every later section.
    """
    files = [p for p in folder.iterdir() if p.suffix.lower() in (*TIFF, *PNG) and not p.name.startswith(".")]
    if not files or len({p.suffix.lower() in PNG for p in files}) > 1:
        raise InputError(field, str(folder), "a folder of PNG files or of TIFF files", "give one picture a section")
    numbers = {p: [int(n) for n in re.findall(r"\d+", p.stem)][-1:] for p in files}
    bare = [p.name for p, number in numbers.items() if not number]
    if bare:
        raise InputError(field, bare[0], "a number in the name of every section", "rename it, or move it away")
    ordered = sorted((number[0], p.name, p) for p, number in numbers.items())
    for (before, _, _), (after, name, _) in itertools.pairwise(ordered):
        if after != before + 1:
            expected = f"section {before + 1} after {before}"
            raise InputError(field, name, expected, "put a copy of a neighbour where a section is lost")
    return [p for _, _, p in ordered]


def _header(file: Path, field: str) -> tuple[tuple[int, int], str]:
    """Shape (y, x) and dtype of a picture, which is not decoded."""
    if file.suffix.lower() in TIFF:
        tifffile = _tifffile(field, str(file))
        with tifffile.TiffFile(file) as opened:
            page = opened.pages[0]
            shape, dtype, count = page.shape, str(page.dtype), len(opened.pages)
        if len(shape) != 2 or count != 1:
            raise InputError(field, str(file), "one grey page", "convert it")
        return (int(shape[0]), int(shape[1])), dtype
    try:
        with Image.open(file) as picture:
            mode, (width, height) = picture.mode, picture.size
    except OSError as error:
        raise InputError(field, str(file), "a PNG picture", "replace it") from error
    if mode not in _MODES:
        raise InputError(field, f"{file} ({mode})", "a grey picture of 8 or 16 bits", "convert it")
    return (height, width), _MODES[mode]


def _pixels(file: Path) -> NDArray[Any]:
    if file.suffix.lower() in TIFF:
        import tifffile

        return np.asarray(tifffile.imread(file))
    with Image.open(file) as picture:
        return np.asarray(picture)


def _tifffile(field: str, path: str) -> Any:
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise missing_package(field, path, "tifffile") from error
    return tifffile
