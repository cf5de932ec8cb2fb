"""N5 and Neuroglancer precomputed volumes, local or at a URL, through tensorstore.

Both formats store x, y, z. What this module returns is z, y, x.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.datasets import stored_chunks
from fgnet_pipeline.datasets.axes import Axes, arrange
from fgnet_pipeline.datasets.compressed_chunks import DECODERS, CompressedChunks
from fgnet_pipeline.datasets.n5_metadata import N5Attributes
from fgnet_pipeline.datasets.source import (
    Placed,
    Placement,
    Request,
    Size,
    first_line,
    foreign,
    local_path,
    missing_package,
)

_RETRIES = {
    f"{kind}_request_retries": {"max_retries": 4, "initial_delay": "200ms", "max_delay": "2s"}
    for kind in ("http", "s3", "gcs")
}
#: How many folders above an N5 dataset its groups are looked for, if no folder is known as the root.
_LEVELS_UP = 6


class _TensorSource(Placed):
    """What both formats share. See `source.Source`; with `Request.channels` the axis c is in front."""

    _store: Any
    _axes: Axes
    channels: int

    def __init__(self, request: Request) -> None:
        try:
            import tensorstore
        except ModuleNotFoundError as error:
            raise missing_package(request.field, request.path, "tensorstore") from error
        self.path, self._field, self._request = request.path, request.field, request
        self._tensorstore = tensorstore
        self._place = _place(request)
        self.attributes: dict[str, Any] = {}

    def _finish(self, store: Any, names: tuple[str, ...]) -> None:
        """Set what a source has.

        Args:
            store: of tensorstore.
            names: of its axes.
        """
        request = self._request
        usual = request.axes or names
        self._axes = arrange(usual, tuple(store.shape), request.field, request.path, request.channels)
        self._store, self._origin = store, [int(n) for n in store.domain.origin]
        self.shape, self.axes = self._axes.shape(store.shape), self._axes.names
        self.channels = self._axes.channels(store.shape)
        self.dtype = np.dtype(store.dtype.numpy_dtype)

    def _metadata(self, place: str, name: str) -> dict[str, Any] | None:
        """A JSON file below a folder; None if it does not exist."""
        kvstore = self._tensorstore.KvStore.open(place, context=self._tensorstore.Context(_RETRIES)).result()
        found = kvstore.read(name).result()
        if found.state != "value":
            return None
        document = json.loads(found.value)
        if not isinstance(document, dict):
            raise InputError(self._field, f"{self.path}, {name}", "a JSON object", "check the file")
        return document

    def _group_metadata(self, place: str) -> dict[str, Any] | None:
        """The attributes of an N5 group; None if there are none, or if a server says so in its own way.

        Buckets that forbid listing answer 403 for objects that do not exist, and some servers send a page of HTML.
        """
        try:
            return self._metadata(place, "attributes.json")
        except ValueError as error:
            if _folder(place) is None and (isinstance(error, json.JSONDecodeError) or _forbidden(error)):
                return None
            raise

    def _opened(self, spec: dict[str, Any]) -> Any:
        driver = spec["driver"]
        try:
            return self._tensorstore.open(spec, open=True, read=True).result()
        except (ValueError, OSError) as error:
            remedy = f"check the path, and that it can be read ({first_line(error)})"
            raise InputError(self._field, self.path, f"a volume of the format {driver}", remedy) from error

    def _selection(self, box: Box) -> tuple[slice | int, ...]:
        """The index of a box in the domain of the store, which may begin elsewhere than at 0."""
        picked: list[slice | int] = []
        for part, origin in zip(self._axes.selection(box), self._origin, strict=True):
            if isinstance(part, int):
                picked.append(part + origin)
            else:
                whole = part.start is None
                picked.append(part if whole else slice(part.start + origin, part.stop + origin))
        return tuple(picked)

    def read(self, box: Box) -> NDArray[Any]:
        """See `source.Source`."""
        with foreign(self._field, self.path, "chunks that can be decoded", "fetch it anew"):
            return self._axes.arranged(np.asarray(self._store[self._selection(box)].read().result()))


class N5Source(_TensorSource):
    """An N5 dataset.

    Raises:
        InputError: there is none, it has not three axes, or none of its blocks is stored.
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        with foreign(request.field, request.path, "a volume of the format n5", "check the path"):
            own = self._metadata(self._place, "attributes.json")
        if own is not None and "dimensions" not in own:
            raise InputError(request.field, request.path, "an N5 dataset, not a group", self._members())
        if own is not None and own.get("isLabelMultiset"):
            remedy = "extract one label per voxel with `paintera-convert to-scalar`"
            raise InputError(request.field, request.path, "one label per voxel, not Paintera's label multisets", remedy)
        store = self._opened({"driver": "n5", "kvstore": self._place, "context": _RETRIES})
        with foreign(request.field, request.path, "N5 attributes that can be read"):
            meta = self._attributes(own or {}, store.rank)
            self._finish(store, request.axes or meta.axes())
            self.stored = self._stored_share(own or {})
        self.attributes = dict(own or {})
        self.placement = Placement(lambda: self._picked(meta.voxel_size()), lambda: self._picked(meta.offset()))

    def _picked(self, values: list[float] | None) -> Size | None:
        return None if values is None else self._axes.spatial(values)

    def _members(self) -> str:
        """The remedy for a group: the datasets in it, if they can be listed."""
        folder = _folder(self._place)
        found = sorted(f.parent.name for f in folder.glob("*/attributes.json")) if folder else []
        return f"name one of {', '.join(found[:8])}" if found else "name a dataset in it, such as its level s0"

    def _attributes(self, own: dict[str, Any], rank: int) -> N5Attributes:
        parent, _, name = self._place.rstrip("/").rpartition("/")
        groups, below, place = [], name, parent
        for _ in range(_LEVELS_UP):
            if place.endswith(("://", ":/", ":")) or not urlsplit(place).path.strip("/"):
                break
            group = self._group_metadata(f"{place}/")
            if group is not None:
                groups.append((below, group))
            if (group or {}).get("n5") is not None or place.endswith(".n5"):
                break
            place, _, more = place.rpartition("/")
            below = f"{more}/{below}"
        first = self._group_metadata(f"{parent}/s0/") if name[:1] == "s" and name != "s0" else None
        return N5Attributes(own, tuple(groups), first or {}, rank, unquote(name), self.path, self._field)

    def _stored_share(self, own: dict[str, Any]) -> float:
        grid, folder = stored_chunks.n5_grid(own), _folder(self._place)
        if folder is not None:
            return stored_chunks.local_census(folder, grid).share(self._field, self.path)
        kvstore = self._tensorstore.KvStore.open(self._place, context=self._tensorstore.Context(_RETRIES)).result()
        return stored_chunks.probe_census(kvstore.read, grid).share(self._field, self.path)


class PrecomputedSource(_TensorSource):
    """A Neuroglancer precomputed volume: plain, sharded, or with compressed files as CloudVolume writes them.

    Raises:
        InputError: there is none, it has several channels, or none of its chunks is stored.
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._compressed: CompressedChunks | None = None
        self._lock = threading.Lock()
        spec = {"driver": "neuroglancer_precomputed", "kvstore": self._place, "context": _RETRIES}
        store = self._opened({**spec, "scale_index": request.scale})
        with foreign(request.field, request.path, "precomputed metadata that can be read"):
            info = self._metadata(self._place, "info") or {}
            if info.get("type") not in ("image", "segmentation"):
                expected = "a volume of the type image or segmentation"
                raise InputError(
                    request.field, f"{request.path} of the type {info.get('type')}", expected, "check its info"
                )
            self._scale: dict[str, Any] = info["scales"][request.scale]
            if store.shape[3] != 1 and not request.channels:
                value = f"{request.path} with {store.shape[3]} channels"
                raise InputError(request.field, value, "one channel", "extract one")
            census = self._census()
            self.stored = census.share(request.field, request.path)
            if census.suffixes:
                store = self._in_memory(info, request.scale)
                self.notes = (f"its chunks are compressed files ({', '.join(census.suffixes)})",)
            self._finish(store, ("x", "y", "z", "c"))
            size = [float(unit.multiplier) for unit in store.dimension_units[:3]]
            corner = [int(n) * s for n, s in zip(store.domain.origin[:3], size, strict=True)]
        self.placement = Placement(lambda: self._axes.spatial(size), lambda: self._axes.spatial(corner))

    def _census(self) -> stored_chunks.Census:
        place = self._chunk_place()
        grid, folder = stored_chunks.precomputed_grid(self._scale), _folder(place)
        if self._scale.get("sharding"):
            return self._sharded_census(place, grid, folder)
        if folder is not None:
            return stored_chunks.local_census(folder, grid, tuple(DECODERS))
        kvstore = self._tensorstore.KvStore.open(place, context=self._tensorstore.Context(_RETRIES)).result()
        return stored_chunks.probe_census(kvstore.read, grid)

    def _sharded_census(self, place: str, grid: stored_chunks.ChunkGrid, folder: Path | None) -> stored_chunks.Census:
        """The chunks in the index of local shards; some of a remote volume, spread evenly."""
        spec = {"driver": "neuroglancer_uint64_sharded", "base": place, "metadata": self._scale["sharding"]}
        shards = self._tensorstore.KvStore.open(spec, context=self._tensorstore.Context(_RETRIES)).result()
        if folder is None:
            return stored_chunks.probe_census(shards.read, stored_chunks.sharded_grid(grid))
        files = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
        others = tuple(name for name in files if not name.endswith(".shard"))
        found = len(shards.list().result()) if len(others) < len(files) else 0
        return stored_chunks.Census(found, grid.total, others[:3])

    def _chunk_place(self) -> str:
        return f"{self._place}{self._scale['key'].strip('/')}/"

    def _in_memory(self, info: dict[str, Any], scale: int) -> Any:
        """The volume in a store in memory, into which `read` puts the chunks that it needs."""
        context = self._tensorstore.Context()
        memory = {"driver": "memory", "path": "volume/"}
        kvstore = self._tensorstore.KvStore.open(memory, context=context).result()
        kvstore["info"] = json.dumps(info).encode()
        folder = _folder(self._chunk_place())
        assert folder is not None
        self._compressed = CompressedChunks(folder, kvstore, f"{self._scale['key'].strip('/')}/")
        spec = {"driver": "neuroglancer_precomputed", "kvstore": memory, "scale_index": scale}
        return self._tensorstore.open(spec, open=True, read=True, context=context).result()

    def read(self, box: Box) -> NDArray[Any]:
        """See `source.Source`."""
        if self._compressed is None:
            return super().read(box)
        spans = dict(zip("zyx", zip(box.begin, box.end, strict=True), strict=True))
        names = stored_chunks.precomputed_names(self._scale, [spans[axis] for axis in self._axes.names[:3]])
        with self._lock, foreign(self._field, self.path, "chunks that can be decoded", "fetch it anew"):
            try:
                self._compressed.load(names)
                return super().read(box)
            finally:
                self._compressed.forget(names)


def _place(request: Request) -> str:
    """The URL of the folder that holds the volume's metadata, ending with `/`."""
    path = request.path.removeprefix("precomputed://").removeprefix("n5://").removeprefix("file://")
    url = path if "://" in path else local_path(path, request.field).resolve().as_uri()
    inside = f"/{request.dataset.strip('/')}" if request.dataset else ""
    return f"{url.rstrip('/')}{inside}/"


def _forbidden(error: BaseException) -> bool:
    """Whether a server refused to say if an object exists."""
    return "PERMISSION_DENIED" in str(error) or "403" in str(error)


def _folder(place: str) -> Path | None:
    """The folder of a `file://` URL; None for other places."""
    return Path(unquote(urlsplit(place).path)) if place.startswith("file://") else None
