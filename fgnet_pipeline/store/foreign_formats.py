"""Recognises files and folders that are no Zarr array but can be imported, to say so instead of "not found"."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from fgnet_pipeline.core.config import is_url

#: First bytes of a file -> the name of its format.
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "HDF5 file",
    b"II*\x00": "TIFF file",
    b"MM\x00*": "TIFF file",
    b"II+\x00": "BigTIFF file",
    b"MM\x00+": "BigTIFF file",
    b"\x89PNG\r\n\x1a\n": "PNG picture",
    b"\xff\xd8\xff": "JPEG picture",
    b"PK\x03\x04": "ZIP archive",
    b"\x93NUMPY": "NumPy file",
    b"\x1f\x8b": "gzip file",
}
#: Formats that `fgnet import` reads.
_IMPORTED = ("HDF5", "TIFF", "BigTIFF", "PNG", "N5", "Neuroglancer", "folder of pictures")
_PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
#: HDF5 keeps its first bytes at 0, 512, 1024, ... (HDF5 File Format Specification, section II.A).
_HDF5_PLACES = (512, 1024, 2048, 4096)
#: Names that say what a URL is.
_URLS = {
    ("precomputed://", "zarr://", "n5://"): "Neuroglancer or N5 URL",
    (".h5", ".hdf", ".hdf5"): "HDF5 file",
    (".tif", ".tiff"): "TIFF file",
    (".n5",): "N5 container",
}


def foreign_format(path: str) -> str | None:
    """What lies at a path where no Zarr array is; None if it is not recognised.

    Args:
        path: a file, a folder or a URL. A path inside a file, such as `a.h5/volumes/raw`, counts as the file.
    """
    if is_url(path):
        lower = path.lower().rstrip("/")
        return next((kind for marks, kind in _URLS.items() if lower.startswith(marks) or lower.endswith(marks)), None)
    try:
        place = next((p for p in (Path(path), *Path(path).parents) if p.exists()), None)
        if place is None:
            return None
        if place.is_file():
            return _file_format(place)
        return _folder_format(place) if place == Path(path) else _n5_above(place)
    except (OSError, ValueError):
        return None


def is_imported(kind: str) -> bool:
    """Whether `fgnet import` reads a format."""
    return kind.startswith(_IMPORTED)


def remedy(kind: str) -> str:
    """What to do with a format."""
    return "use fgnet import" if is_imported(kind) else "convert it to Zarr"


def _file_format(file: Path) -> str:
    with file.open("rb") as stream:
        head = stream.read(8)
        for place in _HDF5_PLACES:
            stream.seek(place)
            if stream.read(8) == b"\x89HDF\r\n\x1a\n":
                return "HDF5 file"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "file")


def _folder_format(folder: Path) -> str | None:
    if (folder / "info").is_file() and "scales" in _keys(folder / "info"):
        return "Neuroglancer precomputed volume"
    if _is_n5(folder):
        return "N5 container"
    if (folder / "header.wkw").is_file():
        return "WKW folder of WEBKNOSSOS"
    has_pictures = any(entry.suffix.lower() in _PICTURES for entry in islice(folder.iterdir(), 1000))
    return "folder of pictures" if has_pictures else _n5_above(folder)


def _n5_above(folder: Path) -> str | None:
    return "N5 container" if any(_is_n5(place) for place in (folder, *folder.parents)) else None


def _is_n5(folder: Path) -> bool:
    if not (folder / "attributes.json").is_file():
        return False
    known = {"n5", "dataType", "blockSize", "dimensions"}
    return folder.suffix == ".n5" or bool(known & _keys(folder / "attributes.json"))


def _keys(file: Path) -> set[str]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return set()
    return set(content) if isinstance(content, dict) else set()
