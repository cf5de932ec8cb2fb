"""Pages of TIFF files: what each states about its pixels, which of them are sections, and whether they are whole."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.source import first_line, missing_package

TIFF = (".tif", ".tiff")
#: Values of the tag PhotometricInterpretation (TIFF 6.0, section 8).
WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE = 0, 1, 3
_WHOLE_BYTES = (8, 16, 32, 64)
#: Bit of the tag NewSubfileType: a reduced version of another page.
_REDUCED = 1
#: What tifffile logs, instead of raising it, if sections are lost or a file is not what its metadata state.
_LOSSES = re.compile(
    r"zeroed|missing (files|\d)|is missing|corrupt|invalid (page )?offset|invalid circular|incompletely written"
    r"|failed to re(ad|shape)|discontiguous|do(es)? not match|index out of range|invalid TiffData index"
    r"|expected \d+ frames|returning subset|OME series raised",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Look:
    """What a page states about its pixels.

    Attributes:
        shape: (y, x).
        dtype: of the decoded pixels.
        bits: per sample.
        photometric: value of the tag PhotometricInterpretation.
        coding: compression and predictor.
        grey_palette: the colours of its palette are the greys 0, 1, 2, ...; true if it has none.
    """

    shape: tuple[int, ...]
    dtype: str
    bits: int
    photometric: int
    coding: tuple[int, int]
    grey_palette: bool


def tifffile_module(field: str, path: str) -> Any:
    """The package tifffile.

    Raises:
        InputError: it is not installed.
    """
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise missing_package(field, path, "tifffile") from error
    return tifffile


@contextmanager
def losses_refused(field: str, path: str) -> Iterator[None]:
    """Refuse a file if tifffile logs that parts of it are lost. It reads such parts as zeros, or leaves them out.

    Raises:
        InputError: something is lost.
    """
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger, listener = logging.getLogger("tifffile"), Listener(logging.WARNING)
    logger.addHandler(listener)
    before = logger.propagate, logger.level
    logger.propagate = False  # what is lost becomes an error, and the rest is of no use to the user
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.propagate = before[0]
        logger.setLevel(before[1])
    lost = [text for text in heard if _LOSSES.search(text)]
    if lost:
        said = re.sub(r"^<tifffile\.\S+ .*?> ", "", lost[0])[:200]
        raise InputError(field, path, "a whole TIFF file", f"fetch it anew, with all files of its set ({said})")


def is_reduced(page: Any) -> bool:
    """Whether a page is a smaller copy of another one, as the tag NewSubfileType says."""
    return bool(int(page.subfiletype) & _REDUCED)


def look_at(page: Any, field: str, path: str) -> Look:
    """What a page states.

    Args:
        page: of tifffile.
        field: the option to name in errors.
        path: of the file.

    Raises:
        InputError: it has colours or several samples per pixel, another orientation, or pixels that are cut off.
    """
    if page.samplesperpixel != 1 or page.dtype is None:
        raise InputError(field, path, "one grey channel", "convert it: colours carry no ids here")
    orientation = page.tags.get(274)
    if orientation is not None and int(orientation.value) != 1:
        expected = "rows from top to bottom, columns from left to right"
        raise InputError(field, f"{path} with the orientation {int(orientation.value)}", expected, "turn the picture")
    size = page.parent.filehandle.size
    if not page.dataoffsets or any(
        begin + length > size for begin, length in zip(page.dataoffsets, page.databytecounts, strict=False)
    ):
        raise InputError(field, f"{path}, page {page.index}", "a whole page", "fetch the file anew: it is cut off")
    return Look(
        tuple(int(n) for n in page.shape),
        str(np.dtype(page.dtype)),
        int(page.bitspersample),
        int(page.photometric),
        (int(page.compression), int(page.predictor)),
        _is_grey(page),
    )


def _is_grey(page: Any) -> bool:
    colours = page.colormap if int(page.photometric) == PALETTE else None
    if colours is None:
        return int(page.photometric) != PALETTE
    levels = np.asarray(colours, np.float64)
    steps = np.linspace(0, 65535, levels.shape[1])
    return bool(np.all(np.abs(levels - steps) <= 256))


def check_looks(looks: Iterable[Look], field: str, path: str) -> Look:
    """Check that all pages are of one kind, which can be read.

    Args:
        looks: of all pages.
        field: the option to name in errors.
        path: of the file or folder.

    Returns:
        The look of one page.

    Raises:
        InputError: pages differ in shape, type or the meaning of black, or their pixels are no grey values.
    """
    found = {(look.shape, look.dtype, look.bits, look.photometric): look for look in looks}
    if len(found) > 1:
        kinds = sorted(f"{list(shape)} {dtype} photometric {p}" for shape, dtype, _, p in found)
        shown = "; ".join(kinds[:4])
        raise InputError(field, path, f"sections of one shape and type, not {shown}", "crop or convert them")
    if not found:
        raise InputError(field, path, "a TIFF file with pages", "check the file")
    look = next(iter(found.values()))
    is_raw = field == "--raw"
    if look.bits not in _WHOLE_BYTES:
        expected = "8, 16, 32 or 64 bits per pixel"
        raise InputError(field, f"{path} of {look.bits} bits", expected, "convert it, to 8 bits for example")
    if look.photometric == PALETTE and is_raw and not look.grey_palette:
        raise InputError(field, f"{path} with a palette of colours", "grey values", "convert it to grey")
    if look.photometric == WHITE_IS_ZERO and not (is_raw and look.dtype.startswith("uint")):
        value = f"{path}, {look.dtype} with the photometric interpretation WhiteIsZero"
        raise InputError(field, value, "BlackIsZero (only unsigned raw is inverted)", "convert it")
    if look.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE):
        value = f"{path} with the photometric interpretation {look.photometric}"
        raise InputError(field, value, "grey values", "convert it to grey")
    return look


def inverted(values: NDArray[Any]) -> NDArray[Any]:
    """Unsigned values of which 0 is white, as values of which 0 is black."""
    return np.subtract(np.iinfo(values.dtype).max, values, dtype=values.dtype)


def decoded(page: Any, field: str, path: str) -> NDArray[Any]:
    """The pixels (y, x) of a page.

    Args:
        page: of tifffile.
        field: the option to name in errors.
        path: of the file.

    Raises:
        InputError: they are damaged, or a package is missing.
    """
    where = f"{path}, page {page.index if isinstance(page.index, int) else page.index[0]}"
    handle = page.parent.filehandle
    closed = handle.closed  # tifffile closes the other files of a set
    try:
        if closed:
            handle.open()
        pixels: NDArray[Any] = np.asarray(page.asarray())
    except Exception as error:  # each codec raises its own kind
        said = first_line(error)
        if "imagecodecs" in said:
            kind = getattr(page.compression, "name", str(page.compression))
            expected = f"the package imagecodecs, which decodes the compression {kind}"
            raise InputError(field, path, expected, "pip install imagecodecs, or save the file uncompressed") from error
        raise InputError(field, where, "a whole page", f"replace it ({said})") from error
    finally:
        if closed:
            handle.close()
    return pixels


def try_decoding(pages: Iterable[Any], field: str, path: str) -> None:
    """Decode one page of each compression, so that a missing package is known before anything is written.

    Args:
        pages: of tifffile.
        field: the option to name in errors.
        path: of the file.

    Raises:
        InputError: one cannot be decoded.
    """
    tried = set()
    for page in pages:
        coding = (int(page.keyframe.compression), int(page.keyframe.predictor))
        if coding not in tried:
            tried.add(coding)
            decoded(page, field, path)


def all_looks(path: Path, offsets: set[int] | None, field: str, shown: str) -> list[Look]:
    """What every page of a file states, except of reduced copies.

    tifffile takes many pages to be as the first one is. Here each is read.

    Args:
        path: of the file.
        offsets: of the pages to look at, in bytes; None looks at all.
        field: the option to name in errors.
        shown: the path in errors.
    """
    tifffile = tifffile_module(field, shown)
    with tifffile.TiffFile(path) as file:
        file.pages.useframes = False
        pages = (page for page in file.pages if offsets is None or page.offset in offsets)
        return [look_at(page, field, shown) for page in pages if not is_reduced(page) or offsets is not None]
