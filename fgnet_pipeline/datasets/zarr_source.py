"""Zarr arrays. They can be used without an import. An import changes their type, or puts labels in the grid of raw."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.datasets.axes import arrange
from fgnet_pipeline.datasets.source import Placed, Placement, Request, foreign, local_path
from fgnet_pipeline.store.arrays import open_array
from fgnet_pipeline.store.chunk_names import require_stored
from fgnet_pipeline.store.stored_share import stored_share
from fgnet_pipeline.store.volume import frame_of, open_volume


class ZarrSource(Placed):
    """An array of three axes (see `source.Source`), read as `volume.path` of a configuration is.

    Raises:
        InputError: there is no such array, or the reader of volumes refuses it.
    """

    def __init__(self, request: Request) -> None:
        self.path, self._field = request.path, request.field
        with foreign(request.field, request.path, "a Zarr array"):
            self._volume = open_volume(_place(request), request.field, axes=request.axes)
            require_stored(self._volume.array, request.path, request.field, "a volume")
            self.stored = self._volume.stored.share
        self.shape, self.dtype = self._volume.shape, self._volume.dtype
        self.axes = tuple(name for _, name in sorted(zip(self._volume.order, "zyx", strict=True)))
        frame = self._volume.frame
        if frame is not None:
            size, corner = frame.voxel_size, frame.offset
            self.placement = Placement(lambda: size, lambda: corner)

    def read(self, box: Box) -> NDArray[Any]:
        """See `source.Source`."""
        with foreign(self._field, self.path, "chunks that can be decoded", "fetch it anew"):
            return self._volume.read(box)


class ZarrChannels(Placed):
    """An array of the axes c, z, y, x, or of those that the option names.

    Attributes:
        channels: C.
        attributes: of the array.

    Raises:
        InputError: there is no such array, or it has not four axes.
    """

    def __init__(self, request: Request) -> None:
        self.path, self._field = request.path, request.field
        with foreign(request.field, request.path, "a Zarr array"):
            self._array = open_array(_place(request), request.field)
            require_stored(self._array, request.path, request.field, "affinities")
            self.stored = stored_share(self._array).share
            stored = tuple(int(n) for n in self._array.shape)
            self.attributes: dict[str, Any] = dict(self._array.attrs)
            names = request.axes or self._stated() or ("c", "z", "y", "x")
            self._axes = arrange(names, stored, request.field, request.path, channels=True)
        self.shape, self.axes = self._axes.shape(stored), self._axes.names
        self.channels = self._axes.channels(stored)
        self.dtype = np.dtype(self._array.dtype).newbyteorder("=")
        self.placement = Placement(lambda: self._framed("voxel_size"), lambda: self._framed("offset"))

    def _stated(self) -> tuple[str, ...] | None:
        for key in ("axis_names", "axes", "_ARRAY_DIMENSIONS"):
            names = self.attributes.get(key)
            if isinstance(names, list):
                return tuple(str(name.get("name") if isinstance(name, dict) else name) for name in names)
        names = getattr(self._array.metadata, "dimension_names", None)
        return tuple(map(str, names)) if names and all(names) else None

    def _framed(self, name: str) -> tuple[float, float, float] | None:
        z, y, x = self._axes.order[-3:]
        frame = frame_of(self._array, self.path, (z, y, x), None, None)
        if frame is None:
            return None
        return frame.voxel_size if name == "voxel_size" else frame.offset

    def read(self, box: Box) -> NDArray[Any]:
        """The values (c, z, y, x) of a box.

        Raises:
            InputError: they cannot be read.
        """
        with foreign(self._field, self.path, "chunks that can be decoded", "fetch it anew"):
            return self._axes.arranged(np.asarray(self._array[self._axes.selection(box)]))


def _place(request: Request) -> str:
    """Folder or URL of the array."""
    path = request.path.removeprefix("file://")
    inside = f"/{request.dataset.strip('/')}" if request.dataset else ""
    place = path if "://" in path else str(local_path(path, request.field))
    return f"{place.rstrip('/')}{inside}"
