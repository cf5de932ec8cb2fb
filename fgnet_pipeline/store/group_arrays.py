"""The arrays of a Zarr group, or the levels of a pyramid: what a user may mean who names a group."""

from __future__ import annotations

import zarr

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.store.group_files import group_attributes, plain_path
from fgnet_pipeline.store.object_store import open_store

#: Groups below the named one that are looked into.
DEPTH = 3


def arrays_below(path: str, field: str) -> list[str]:
    """The arrays below a group.

    Args:
        path: folder or URL.
        field: the configuration key or option to name in errors.

    Returns:
        Paths below the group: the levels of OME-Zarr metadata in their order, or else all arrays, sorted by name. Empty
        if there is no group.

    Raises:
        InputError: metadata that cannot be read, or an object store that refuses or does not answer.
    """
    levels = _levels(group_attributes(path, field))
    if levels:
        return levels
    try:
        node = zarr.open(open_store(path, field, read_only=True) if is_url(path) else path, mode="r")
    except Exception:  # stores raise their own kinds; what is wrong was said when the path was opened as an array
        return []
    if not isinstance(node, zarr.Group):
        return []
    return sorted(name for name, member in node.members(max_depth=DEPTH) if isinstance(member, zarr.Array))


def _levels(attributes: dict[str, object]) -> list[str]:
    """The paths that OME-Zarr metadata list, finest level first."""
    ome = attributes.get("ome", attributes)
    multiscales = ome.get("multiscales") if isinstance(ome, dict) else None
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    datasets = first.get("datasets") if isinstance(first, dict) else None
    entries = [entry for entry in datasets if isinstance(entry, dict)] if isinstance(datasets, list) else []
    return [name for entry in entries if (name := plain_path(entry.get("path")))]
