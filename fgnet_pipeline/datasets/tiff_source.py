"""TIFF files: one section per page, or one array after another, in one image or in pieces of one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.datasets.axes import Axes, arrange
from fgnet_pipeline.datasets.source import Placed, Placement, Request, Size, foreign, local_path
from fgnet_pipeline.datasets.tiff_metadata import stated_size
from fgnet_pipeline.datasets.tiff_pages import (
    PALETTE,
    WHITE_IS_ZERO,
    Look,
    all_looks,
    check_looks,
    decoded,
    inverted,
    is_reduced,
    losses_refused,
    tifffile_module,
    try_decoding,
)

#: Axes that tifffile gives to pages if nothing in the file names them. They are z if no other axis is.
_UNNAMED = ("Q", "I")


class _Part(Protocol):
    """Some of the positions along the first stored axis.

    Attributes:
        count: how many.
    """

    count: int

    def read(self, first: slice, others: tuple[slice, ...]) -> NDArray[Any]:
        """The values in stored order."""
        ...


class _Mapped:
    """An array that is stored as it is, uncompressed."""

    def __init__(self, data: NDArray[Any]) -> None:
        self._data, self.count = data, int(data.shape[0])

    def read(self, first: slice, others: tuple[slice, ...]) -> NDArray[Any]:
        return np.asarray(self._data[(first, *others)])


class _Pages:
    """Pages that are decoded one by one, one per position along the first stored axis."""

    def __init__(self, pages: Sequence[Any], field: str, path: str) -> None:
        self._pages, self._field, self._path, self.count = pages, field, path, len(pages)

    def read(self, first: slice, others: tuple[slice, ...]) -> NDArray[Any]:
        return np.stack(
            [decoded(self._pages[i], self._field, self._path)[others] for i in range(first.start, first.stop)]
        )


class TiffSource(Placed):
    """A TIFF file (see `source.Source`).

    A file that was appended to holds several series of pages; if they are of one kind, they are read in their order.
    A file with several images needs the number of one as `Request.dataset`.

    Raises:
        InputError: the file cannot be read or decoded, parts of it are lost, it has colours or several images, or its
            axes are not z, y and x.
    """

    def __init__(self, request: Request) -> None:
        self.path, self._field = request.path, request.field
        tifffile = tifffile_module(request.field, request.path)
        path = local_path(request.path, request.field)
        with foreign(request.field, request.path, "a readable TIFF file", "check the file"):
            with losses_refused(request.field, request.path):
                self._file = tifffile.TiffFile(path)
                chosen = _chosen(self._file, request)
                look = _looks(chosen, path, request)
            names, shape = _stored_axes(chosen, request)
            self._axes = arrange(names, shape, request.field, request.path)
            self._order = _without_single(self._axes, shape)
            self._parts = _parts(chosen, self._order[1], tifffile, path, request)
        self._inverted = look.photometric == WHITE_IS_ZERO
        self.shape, self.axes, self.dtype = self._axes.shape(shape), self._axes.names, np.dtype(look.dtype)
        self.by_section = any(isinstance(part, _Pages) for part in self._parts)
        self._place(chosen, look)

    def _place(self, chosen: Sequence[Any], look: Look) -> None:
        image = int(getattr(chosen[0], "_index", 0) or 0)
        notes = []
        try:
            note = stated_size(self._file, image, self._field, self.path).note
            notes += [note] if note else []
        except InputError:
            pass  # the same error is raised when the voxel size is asked for
        notes += ["values are inverted, since the file says WhiteIsZero"] if self._inverted else []
        notes += ["its palette is not used"] if look.photometric == PALETTE and not look.grey_palette else []
        notes += [f"{len(chosen)} pieces are joined in their order"] if len(chosen) > 1 else []
        self.notes = tuple(notes)
        self.placement = Placement(
            lambda: stated_size(self._file, image, self._field, self.path).whole, self._stated_offset
        )

    def _stated_offset(self) -> Size | None:
        metadata = self._file.imagej_metadata or {}
        origin = {key: metadata[key] for key in ("xorigin", "yorigin", "zorigin") if metadata.get(key)}
        if origin:
            raise InputError(
                self._field, f"{self.path} with {origin}", "no origin in ImageJ's metadata", "give --offset"
            )
        return None

    def read(self, box: Box) -> NDArray[Any]:
        """See `source.Source`."""
        order, _ = self._order
        spans = [box.slices()[axis] for axis in order]
        first, others = spans[0], (spans[1], spans[2])
        pieces, begin = [], 0
        with foreign(self._field, self.path, "a whole TIFF file", "fetch it anew"):
            for part in self._parts:
                low, high = max(first.start, begin), min(first.stop, begin + part.count)
                if low < high:
                    pieces.append(part.read(slice(low - begin, high - begin), others))
                begin += part.count
            stored = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        values = np.transpose(stored, [order.index(axis) for axis in range(3)]).astype(self.dtype, copy=False)
        return inverted(values) if self._inverted else values


def _chosen(file: Any, request: Request) -> list[Any]:
    """The series of pages that make one image: one, or the pieces of a file that was appended to."""
    images = [one for one in file.series if not is_reduced(one.keyframe)]
    if not images:
        raise InputError(request.field, request.path, "a TIFF file with pages", "check the file")
    _check_metadata_used(file, images, request)
    listed = "; ".join(f"{i}: {one.name or one.axes} {list(one.shape)} {one.dtype}" for i, one in enumerate(images[:8]))
    if request.dataset is not None:
        if not request.dataset.isdecimal() or int(request.dataset) >= len(images):
            raise InputError(f"{request.field}-dataset", request.dataset, "the number of an image", f"one of {listed}")
        return [images[int(request.dataset)]]
    kinds = {(one.kind, one.keyframe.shape, str(one.dtype), int(one.keyframe.photometric)) for one in images}
    if len(images) == 1 or (len(kinds) == 1 and images[0].kind in ("shaped", "generic", "uniform")):
        return images
    remedy = f"name the number of one with {request.field}-dataset, or crop and convert them ({listed})"
    raise InputError(request.field, request.path, "sections of one shape and type, in one image", remedy)


def _check_metadata_used(file: Any, images: Sequence[Any], request: Request) -> None:
    """Refuse a file whose metadata tifffile could not use, or use for a part of its pages only.

    It then reads the pages of this file alone, or the first ones, as if they were all.
    """
    if file.is_ome and images[0].kind not in ("ome", "shaped"):
        expected = "OME metadata that describe its pages (BinaryOnly: those of a set are in another file)"
        raise InputError(request.field, request.path, expected, "name the file of the set that has the metadata")
    described = sum(len(level.pages) for one in file.series for level in one.levels)
    if len(file.pages) > described:
        expected = f"metadata of {len(file.pages)} pages, but they describe {described}"
        raise InputError(request.field, request.path, expected, "save it anew with ImageJ or tifffile")


def _looks(chosen: Sequence[Any], path: Path, request: Request) -> Look:
    """What the pages of the chosen image state, each page read by itself, in all files of a set."""
    offsets: dict[Path, set[int]] = {}
    for one in chosen:
        for page in one._pages:  # the pages that are stored; `pages` also has those that are only counted
            if page is None:
                expected, remedy = "all sections, but some are lost", "fetch it anew, with all files of its set"
                raise InputError(request.field, request.path, expected, remedy)
            offsets.setdefault(Path(page.parent.filehandle.path), set()).add(page.offset)
    counted = sum(len(one.pages) for one in chosen)
    stored = sum(len(found) for found in offsets.values())
    if counted > stored:  # tifffile counts on pages that it has not read
        offsets = {path: {page.offset for page in chosen[0].parent.pages if not _other(page, chosen)}}
    looks = [look for file, found in offsets.items() for look in all_looks(file, found, request.field, request.path)]
    return check_looks(looks, request.field, request.path)


def _other(page: Any, chosen: Sequence[Any]) -> bool:
    """Whether a page of the file lies outside the page numbers of the chosen series."""
    if len(page.parent.series) == len(chosen):
        return False
    number = page.index if isinstance(page.index, int) else page.index[0]
    for one in chosen:
        first = one.keyframe.index if isinstance(one.keyframe.index, int) else one.keyframe.index[0]
        if first <= number < first + len(one.pages):
            return False
    return True


def _stored_axes(chosen: Sequence[Any], request: Request) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and lengths of the stored axes of the chosen series together."""
    axes, shape = chosen[0].axes, [int(n) for n in chosen[0].shape]
    if "S" in axes:
        raise InputError(request.field, request.path, "one grey channel", "convert it: colours carry no ids here")
    long = [(name, n) for name, n in zip(axes, shape, strict=True) if n != 1 or name in "ZYX"]
    if len(chosen) > 1:
        pieces = [[n for name, n in zip(one.axes, one.shape, strict=True) if name in "ZQI"] for one in chosen]
        count = sum(int(np.prod(piece)) for piece in pieces)
        long = [("I", count), ("Y", shape[axes.index("Y")]), ("X", shape[axes.index("X")])]
    names = [name for name, _ in long]
    unnamed = [name for name in names if name in _UNNAMED]
    if len(long) == 3 and len(unnamed) == 1 and "Z" not in names:
        names[names.index(unnamed[0])] = "Z"
    lengths = tuple(n for _, n in long)
    if request.axes and len(request.axes) == len(lengths):
        return request.axes, lengths
    return tuple(names), lengths


def _without_single(axes: Axes, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Which of z, y, x (0, 1, 2) each stored axis is, without other axes, and the lengths of these."""
    kept = sorted(axes.order)
    return [axes.order.index(axis) for axis in kept], [shape[axis] for axis in kept]


def _parts(chosen: Sequence[Any], lengths: list[int], tifffile: Any, path: Path, request: Request) -> list[_Part]:
    pages = [page for one in chosen for page in one.pages if page is not None]
    try_decoding(pages[:1] if len({page.keyframe for page in pages}) == 1 else pages, request.field, request.path)
    if len(chosen) > 1 and chosen[0].kind != "shaped":
        ordered = sorted(pages, key=lambda page: page.index if isinstance(page.index, int) else page.index[0])
        return [_Pages(ordered, request.field, request.path)]
    parts: list[_Part] = []
    for one in chosen:
        count = lengths[0] if len(chosen) == 1 else int(np.prod(one.shape)) // (lengths[1] * lengths[2])
        if len(one.pages) not in (1, count):  # one page may stand for an array that is stored behind it
            expected = f"{count} pages, as its metadata state, but it has {len(one.pages)}"
            raise InputError(request.field, request.path, expected, "save it anew with one section per page")
        if one.dataoffset is not None and np.dtype(one.dtype).isnative and not one.is_multifile:
            mapped = tifffile.memmap(path, mode="r", series=one._index)
            parts.append(_Mapped(np.reshape(mapped, (count, *lengths[1:]))))
        elif len(one.pages) == count:
            parts.append(_Pages(list(one.pages), request.field, request.path))
        else:
            expected = "one section per page, or uncompressed values"
            raise InputError(request.field, request.path, expected, "save it anew with one section per page")
    return parts
