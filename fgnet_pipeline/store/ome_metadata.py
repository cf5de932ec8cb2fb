"""What the OME-Zarr metadata (versions 0.4 and 0.5) of a group say about an array that is one of its levels."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.units import nm_per
from fgnet_pipeline.store.object_store import open_store

#: How many folders above an array its group may be.
DEPTH = 2


def level_of(path: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The entries of an array in the metadata of the group that holds it.

    Args:
        path: folder or URL of the array.

    Returns:
        The entries `multiscales` and `datasets`; None if no group names the array.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    for _ in range(DEPTH):
        if "://" in path and not urlsplit(parent).netloc:
            return None
        for multiscale in _multiscales(parent):
            for dataset in multiscale.get("datasets", []):
                if dataset.get("path") == name:
                    return multiscale, dataset
        parent, _, more = parent.rpartition("/")
        name = f"{more}/{name}"
    return None


def _multiscales(group: str) -> list[dict[str, Any]]:
    try:
        store = open_store(group, "volume.path", read_only=True) if is_url(group) else group
        attributes = dict(zarr.open_group(store, mode="r").attrs)
    except (OSError, ValueError, KeyError):
        return []
    ome = attributes.get("ome")
    listed = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    return listed if isinstance(listed, list) else []


def frame_in_nm(path: str) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
    """Voxel size and offset of an array, from the coordinate transformations of its level.

    Args:
        path: folder or URL of the array.

    Returns:
        (voxel size, offset), each (3,) in nm, zyx; (None, None) if there are no metadata. An unknown unit counts as nm.
    """
    found = level_of(path)
    if found is None:
        return None, None
    multiscale, dataset = found
    axes = [a if isinstance(a, dict) else {"name": a} for a in multiscale.get("axes", [])]
    names = [axis.get("name") for axis in axes]
    if not {"z", "y", "x"} <= set(names):
        return None, None
    scale, shift = np.ones(len(axes)), np.zeros(len(axes))
    for transform in [*dataset.get("coordinateTransformations", []), *multiscale.get("coordinateTransformations", [])]:
        if transform.get("type") == "scale":
            scale, shift = scale * transform["scale"], shift * transform["scale"]
        if transform.get("type") == "translation":
            shift = shift + transform["translation"]
    unit = np.asarray([nm_per(axis.get("unit", "nm")) or 1.0 for axis in axes])
    pick = [names.index(n) for n in "zyx"]
    return (scale * unit)[pick], (shift * unit)[pick]
