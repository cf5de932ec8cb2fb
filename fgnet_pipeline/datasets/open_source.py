"""Chooses the reader that a path needs, and opens the source.

To add a format, write its reader and name it in `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.user_paths import absolute_path
from fgnet_pipeline.datasets.hdf5 import SUFFIXES, Hdf5Source
from fgnet_pipeline.datasets.sections import TIFF, FolderSource, TiffSource
from fgnet_pipeline.datasets.source import Request, Source
from fgnet_pipeline.datasets.tensorstore_source import TensorSource

READERS: dict[str, Callable[[Request], Source]] = {
    "hdf5": Hdf5Source,
    "tiff": TiffSource,
    "folder": FolderSource,
    "n5": lambda request: TensorSource(request, "n5"),
    "precomputed": lambda request: TensorSource(request, "neuroglancer_precomputed"),
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
        raise InputError("--format", chosen, f"one of {', '.join(READERS)}", "leave it out to have it guessed")
    return READERS[chosen](request)


def guess(request: Request) -> str:
    """The name of the reader, a key of `READERS`, guessed from name and content.

    Raises:
        InputError: there is nothing, or neither name nor content tells the format.
    """
    text = request.path
    if "://" in text:
        return "n5" if text.startswith("n5://") or ".n5" in text else "precomputed"
    path = Path(text).expanduser()
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise InputError(request.field, text, "a file, a folder or a URL", "check the path")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return "hdf5"
    if suffix in TIFF:
        return "tiff"
    expected = "an HDF5 or TIFF file, a folder of pictures, N5 or Neuroglancer precomputed"
    raise InputError(request.field, text, expected, f"name its --format ({', '.join(READERS)})")


def _folder(path: Path) -> str:
    if (path / "info").is_file():
        return "precomputed"
    if path.suffix == ".n5" or (path / "attributes.json").is_file() or any(".n5" in part for part in path.parts):
        return "n5"
    return "folder"
