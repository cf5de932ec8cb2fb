"""N5 and Neuroglancer precomputed volumes, local or at a URL, through tensorstore.

Both formats store x, y, z. This module is the adapter: what it returns is z, y, x.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.core.units import nm_per
from fgnet_pipeline.datasets.source import Request, Size, check_three_axes, missing_package

_RETRIES = {
    f"{kind}_request_retries": {"max_retries": 4, "initial_delay": "200ms", "max_delay": "2s"}
    for kind in ("http", "s3", "gcs")
}


class TensorSource:
    """A volume that tensorstore opens (see `source.Source`).

    Args:
        request: what to open.
        driver: of tensorstore, `"n5"` or `"neuroglancer_precomputed"`.

    Raises:
        InputError: tensorstore is not installed, cannot open the volume, or the volume has not three axes.
    """

    by_section = False

    def __init__(self, request: Request, driver: str) -> None:
        try:
            import tensorstore
        except ModuleNotFoundError as error:
            raise missing_package(request.field, request.path, "tensorstore") from error
        self.path, self._field = request.path, request.field
        place = _place(request)
        spec: dict[str, Any] = {"driver": driver, "kvstore": place, "context": _RETRIES}
        if driver == "neuroglancer_precomputed":
            spec["scale_index"] = request.scale
        try:
            store: Any = tensorstore.open(spec, open=True, read=True).result()
        except ValueError as error:
            remedy = f"check the path, and that it can be read ({_short(error)})"
            raise InputError(request.field, request.path, f"a volume of the format {driver}", remedy) from error
        if driver == "neuroglancer_precomputed":
            self._open_precomputed(store)
        else:
            self._open_n5(store, place)

    def _open_precomputed(self, store: Any) -> None:
        if store.shape[3] != 1:
            raise InputError(self._field, f"{self.path} with {store.shape[3]} channels", "one channel", "extract one")
        size = [unit.multiplier for unit in store.dimension_units[:3]]
        origin = [int(n) for n in store.domain.origin[:3]]
        self._finish(store[..., 0], (0, 1, 2), size, [o * s for o, s in zip(origin, size, strict=True)])

    def _open_n5(self, store: Any, place: str) -> None:
        attributes = _attributes(place)
        order = _order(attributes.get("axes"), store.rank)
        self._finish(store, order, *_n5_frame(attributes, store.rank))

    def _finish(self, store: Any, order: tuple[int, ...], size: list[float] | None, offset: list[float] | None) -> None:
        """Set what a source has.

        Args:
            store: of tensorstore, with three axes.
            order: the stored axes that are x, y, z.
            size: nm, per stored axis.
            offset: nm, per stored axis.
        """
        check_three_axes(self._field, self.path, tuple(store.shape))
        axes = [order[2], order[1], order[0]]
        self._store, self._axes = store, axes
        self._origin = [int(store.domain.origin[axis]) for axis in axes]
        self.shape = vector([store.shape[axis] for axis in axes])
        self.dtype = np.dtype(store.dtype.numpy_dtype)
        self.voxel_size, self.offset = _picked(size, axes), _picked(offset, axes)

    def read(self, box: Box) -> NDArray[Any]:
        selection: list[Any] = [slice(None)] * 3
        for axis, origin, part in zip(self._axes, self._origin, box.slices(), strict=True):
            selection[axis] = slice(part.start + origin, part.stop + origin)
        try:
            data = self._store[tuple(selection)].read().result()
        except ValueError as error:
            expected, remedy = "chunks that can be decoded", f"fetch it anew ({_short(error)})"
            raise InputError(self._field, self.path, expected, remedy) from error
        return np.transpose(data, self._axes)


def _place(request: Request) -> str:
    """The URL of the folder that holds the volume's metadata."""
    path = request.path.removeprefix("precomputed://").removeprefix("n5://")
    url = path if "://" in path else Path(path).expanduser().resolve().as_uri()
    inside = f"/{request.dataset.strip('/')}" if request.dataset else ""
    return f"{url.rstrip('/')}{inside}/"


def _attributes(place: str) -> dict[str, Any]:
    import tensorstore

    context = tensorstore.Context(_RETRIES)
    text = tensorstore.KvStore.open(place, context=context).result().read("attributes.json").result().value
    found: dict[str, Any] = json.loads(text)
    return found


def _order(axes: object, rank: int) -> tuple[int, ...]:
    """The stored axes that are x, y, z: as the attribute `axes` names them, else in the usual order of N5, x, y, z."""
    if isinstance(axes, list) and sorted(map(str, axes)) == ["x", "y", "z"]:
        return tuple(axes.index(name) for name in "xyz")
    return tuple(range(rank))


def _n5_frame(attributes: dict[str, Any], rank: int) -> tuple[list[float] | None, list[float] | None]:
    """Voxel size and offset in nm, per stored axis; None for what is not stated.

    They are the attributes `resolution` and `offset`, or `pixelResolution` of the N5 viewer. An unknown unit counts as
    nm.
    """
    size, units = attributes.get("resolution"), attributes.get("units")
    pixel = attributes.get("pixelResolution")
    if size is None and isinstance(pixel, dict):
        size, units = pixel.get("dimensions"), [pixel.get("unit", "nm")] * rank
    scale = [nm_per(unit) or 1.0 for unit in units] if isinstance(units, list) else [1.0] * rank
    factors = attributes.get("downsamplingFactors", [1] * rank) if pixel is not None else [1] * rank
    return _scaled(size, scale, factors), _scaled(attributes.get("offset"), scale, [1] * rank)


def _scaled(values: object, scale: list[float], factors: list[int]) -> list[float] | None:
    if not isinstance(values, list) or len(values) != len(scale):
        return None
    return [float(v) * s * f for v, s, f in zip(values, scale, factors, strict=True)]


def _picked(values: list[float] | None, axes: list[int]) -> Size | None:
    if values is None:
        return None
    z, y, x = (float(values[axis]) for axis in axes)
    return z, y, x


def _short(error: Exception) -> str:
    return str(error).split(" [", 1)[0].splitlines()[0]
