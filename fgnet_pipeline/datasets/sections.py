"""Folders of PNG or TIFF files with one section per file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector
from fgnet_pipeline.datasets.section_names import section_files
from fgnet_pipeline.datasets.source import Placed, Request, foreign, local_path
from fgnet_pipeline.datasets.tiff_metadata import stated_size
from fgnet_pipeline.datasets.tiff_pages import (
    BLACK_IS_ZERO,
    PALETTE,
    TIFF,
    WHITE_IS_ZERO,
    Look,
    check_looks,
    decoded,
    inverted,
    is_reduced,
    look_at,
    losses_refused,
    tifffile_module,
)

_MODES = {"L": "uint8", "P": "uint8", "I;16": "uint16", "I;16B": "uint16", "I": "int32"}
#: How Pillow names the packing of greys of 2 and 4 bits. It multiplies them, so that 15 becomes 255.
_STRETCHED = ("L;2", "L;4")


class FolderSource(Placed):
    """A folder with one picture per section, in the order of the numbers in their names (see `source.Source`).

    Raises:
        InputError: a section is missing or cannot be decoded, or the sections differ in shape or type.
    """

    by_section = True

    def __init__(self, request: Request) -> None:
        self.path, self._field = request.path, request.field
        if request.axes and tuple(name.lower() for name in request.axes) != ("z", "y", "x"):
            raise InputError("--axes", ",".join(request.axes), "z,y,x for a folder of sections", "leave it out")
        self._files = section_files(local_path(request.path, request.field), request.field)
        looks = [_header(file, request.field) for file in self._files]
        look = check_looks(looks, request.field, request.path)
        self._inverted = look.photometric == WHITE_IS_ZERO
        y, x = look.shape
        self.shape: Vector = (len(self._files), y, x)
        self.dtype = np.dtype(look.dtype)
        self._try(looks)
        self.notes = _notes(look, self._files[0], request)

    def _try(self, looks: Sequence[Look]) -> None:
        """Decode one file of each compression."""
        tried = set()
        for file, look in zip(self._files, looks, strict=True):
            if look.coding not in tried:
                tried.add(look.coding)
                self._section(file)

    def read(self, box: Box) -> NDArray[Any]:
        """See `source.Source`."""
        _, y, x = box.slices()
        return np.stack([self._section(self._files[z])[y, x] for z in range(box.begin[0], box.end[0])])

    def _section(self, file: Path) -> NDArray[Any]:
        with foreign(self._field, str(file), "a whole picture", "replace it"):
            pixels = _pixels(file, self._field)
        return inverted(pixels) if self._inverted else pixels


def _notes(look: Look, file: Path, request: Request) -> tuple[str, ...]:
    notes = ["values are inverted, since the files say WhiteIsZero"] if look.photometric == WHITE_IS_ZERO else []
    if look.photometric == PALETTE and not look.grey_palette:
        notes.append("the palette of the files is not used")
    if file.suffix.lower() in TIFF:
        try:
            with tifffile_module(request.field, str(file)).TiffFile(file) as opened:
                note = stated_size(opened, 0, request.field, str(file)).note
        except InputError as error:
            note = str(error)
        notes += [f"{file.name}: {note}"] if note else []
    return tuple(notes)


def _header(file: Path, field: str) -> Look:
    """What a picture states; it is not decoded."""
    if file.suffix.lower() in TIFF:
        return _tiff_header(file, field)
    with foreign(field, str(file), "a PNG picture", "replace it"), Image.open(file) as picture:
        if picture.mode not in _MODES or "transparency" in picture.info or getattr(picture, "n_frames", 1) != 1:
            kind = f"{file} ({picture.mode})"
            raise InputError(field, kind, "a grey picture of 8 or 16 bits, without transparency", "convert it")
        packing = picture.tile[0][3] if picture.tile else ""
        if packing in _STRETCHED and field != "--raw":
            raise InputError(field, f"{file} ({packing})", "ids of 8 or 16 bits", "convert it")
        shape, dtype, palette = picture.size[::-1], _MODES[picture.mode], picture.mode == "P"
        grey = not palette or _is_grey_palette(picture)
        return Look(shape, dtype, np.dtype(dtype).itemsize * 8, PALETTE if palette else BLACK_IS_ZERO, (0, 0), grey)


def _is_grey_palette(picture: Image.Image) -> bool:
    colours = np.asarray(picture.getpalette("RGB"), np.int64).reshape(-1, 3)
    return bool(np.array_equal(colours, np.repeat(np.arange(len(colours))[:, None], 3, axis=1)))


def _tiff_header(file: Path, field: str) -> Look:
    tifffile = tifffile_module(field, str(file))
    with (
        foreign(field, str(file), "a readable TIFF file", "replace it"),
        losses_refused(field, str(file)),
        tifffile.TiffFile(file) as opened,
    ):
        pages = [page for page in opened.pages if not is_reduced(page)]
        if len(pages) != 1 or len(pages[0].shape) != 2:
            raise InputError(field, str(file), "one grey page", "convert it")
        metadata = opened.imagej_metadata or {}
        if int(metadata.get("images", 1)) > 1:
            raise InputError(field, f"{file} with {metadata['images']} images", "one grey page", "convert it")
        return look_at(pages[0], field, str(file))


def _pixels(file: Path, field: str) -> NDArray[Any]:
    if file.suffix.lower() not in TIFF:
        with Image.open(file) as picture:
            return np.asarray(picture)
    with tifffile_module(field, str(file)).TiffFile(file) as opened:
        page = next(page for page in opened.pages if not is_reduced(page))
        return decoded(page, field, str(file))
