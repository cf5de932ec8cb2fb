"""Zarr arrays with the metadata of other programs, written as files, for tests of what is understood of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

#: No two voxels along a line have one value, so that no two orders of axes look alike.
SHAPE = (4, 5, 6)
DATA = np.arange(1, np.prod(SHAPE) + 1, dtype=np.uint8).reshape(SHAPE)


def write_array(
    path: Path, data: npt.NDArray[Any] = DATA, attributes: dict[str, Any] | None = None, **options: Any
) -> str:
    """Write an array in chunks of half its length; gives its path."""
    options.setdefault("chunks", tuple(-(-n // 2) for n in data.shape))
    array = zarr.create_array(str(path), shape=data.shape, dtype=data.dtype, **options)
    array[...] = data
    array.attrs.update(attributes or {})
    return str(path)


def write_attributes(folder: Path, attributes: Any, version: int = 3) -> None:
    """Write the attributes of a group, also such as Zarr itself would not write."""
    folder.mkdir(parents=True, exist_ok=True)
    if version == 3:
        text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
        (folder / "zarr.json").write_text(text)
    else:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))


def axes_of(names: str = "zyx", unit: str | None = "nanometer") -> list[dict[str, Any]]:
    """Axes of OME-Zarr."""
    space = {"type": "space"} | ({"unit": unit} if unit is not None else {})
    return [{"name": n, **(space if n in "zyx" else {"type": "channel"})} for n in names]


def level(
    path: str, scale: Sequence[float] | None = None, translation: Sequence[float] | None = None, **more: Any
) -> dict[str, Any]:
    """An entry of `datasets`."""
    listed: list[dict[str, Any]] = [] if scale is None else [{"type": "scale", "scale": list(scale)}]
    listed += [] if translation is None else [{"type": "translation", "translation": list(translation)}]
    return {"path": path, "coordinateTransformations": listed, **more}


def pyramid(*datasets: dict[str, Any], axes: Any = None, **more: Any) -> dict[str, Any]:
    """Attributes of a group, as OME-Zarr 0.5 has them."""
    entry = {"axes": axes_of() if axes is None else axes, "datasets": list(datasets), **more}
    return {"ome": {"version": "0.5", "multiscales": [entry]}}
