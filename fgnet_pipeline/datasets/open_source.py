"""Chooses the reader that a path needs, and opens the source.

To add a format, write its reader and name it in `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.suggestions import unknown_choice
from fgnet_pipeline.core.user_paths import absolute_path
from fgnet_pipeline.datasets.hdf5 import SUFFIXES, Hdf5Source
from fgnet_pipeline.datasets.sections import FolderSource
from fgnet_pipeline.datasets.source import Request, Source, foreign, local_path
from fgnet_pipeline.datasets.tensorstore_source import N5Source, PrecomputedSource
from fgnet_pipeline.datasets.tiff_pages import TIFF
from fgnet_pipeline.datasets.tiff_source import TiffSource
from fgnet_pipeline.datasets.zarr_source import ZarrSource

READERS: dict[str, Callable[[Request], Source]] = {
    "hdf5": Hdf5Source,
    "tiff": TiffSource,
    "folder": FolderSource,
    "n5": N5Source,
    "precomputed": PrecomputedSource,
    "zarr": ZarrSource,
}


def open_source(request: Request, kind: str | None = None) -> Source:
    """Open a volume.

    Args:
        request: what to open.
        kind: a name of `READERS`; None guesses it from name and content.

    Raises:
        InputError: there is nothing, the format is unknown, or the reader refuses the content.
    """
    if "://" not in request.path:
        absolute_path(request.path, None, request.field)  # refuses what can be no path
    chosen = kind or guess(request)
    if chosen not in READERS:
        raise unknown_choice("--format", chosen, READERS, "leave it out to have it guessed")
    with foreign(request.field, request.path, f"a volume that the reader of {chosen} can open"):
        return READERS[chosen](request)


def guess(request: Request) -> str:
    """The name of the reader, a key of `READERS`, guessed from name and content.

    Raises:
        InputError: there is nothing, or neither name nor content tells the format.
    """
    text = request.path
    if "://" in text and not text.startswith("file://"):
        if text.startswith("n5://") or ".n5" in text:
            return "n5"
        return "zarr" if ".zarr" in text and not text.startswith("precomputed://") else "precomputed"
    path = local_path(text.removeprefix("file://"), request.field)
    if path.is_dir():
        return _folder(path)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return "hdf5"
    if suffix in TIFF:
        return "tiff"
    expected = "an HDF5 or TIFF file, a folder of pictures, N5, Zarr or Neuroglancer precomputed"
    raise InputError(request.field, text, expected, f"name its --format ({', '.join(READERS)})")


def _folder(path: Path) -> str:
    if any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")) or path.suffix == ".zarr":
        return "zarr"
    if (path / "info").is_file():
        return "precomputed"
    if path.suffix == ".n5" or (path / "attributes.json").is_file() or any(".n5" in part for part in path.parts):
        return "n5"
    return "folder"
