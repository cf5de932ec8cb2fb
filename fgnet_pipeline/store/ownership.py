"""Refuses to write an output into a place that holds something else.

An output is a Zarr v3 group of our format. In an object store it carries the mark of the folder that holds its state
(`output.state`), so that no two states ever write to one set of arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zarr
import zarr.errors
from zarr.core.sync import collect_aiterator

from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.store.atomic_files import read_json
from fgnet_pipeline.store.layout import FORMATS, moved_state_of
from fgnet_pipeline.store.object_store import RemoteStore
from fgnet_pipeline.store.stored_files import is_partial

#: The format of arrays, of the saved configuration, and of the group in an object store.
FORMAT_VERSION = 1
#: The file that holds the mark, in the folder of the state of arrays in an object store.
STATE_FILE = "state.json"
_REMEDY = "choose another output.path"


def check_folder(root: Path, arrays: Iterable[str]) -> None:
    """Check that a folder may become, or is, an output.

    Args:
        root: the folder; it need not exist.
        arrays: names of the arrays that stages write.

    Raises:
        InputError: it is a file, or neither empty nor a group of our format, or holds another program's arrays.
    """
    if root.is_file():
        raise InputError("output.path", str(root), "a folder", _REMEDY)
    # A run that was killed while it made the group may have left an unfinished file.
    if not root.is_dir() or all(is_partial(path) for path in root.iterdir()):
        return
    if not (root / "zarr.json").exists():
        raise InputError("output.path", str(root), "an empty folder or an output of this program", _REMEDY)
    try:
        version = dict(zarr.open_group(root, mode="r").attrs).get("fgnet_format", FORMAT_VERSION)
    except (zarr.errors.BaseZarrError, ValueError, KeyError):
        raise InputError("output.path", str(root), "a Zarr v3 group", _REMEDY) from None
    if version not in FORMATS:
        expected = f"format {' or '.join(map(str, FORMATS))} (found {version})"
        raise InputError("output.path", str(root), expected, "use another version")
    for name in arrays:
        metadata = read_json(root / name / "zarr.json") or {}
        if metadata and "fgnet_format" not in metadata.get("attributes", {}):
            raise _foreign(str(root), name)


def check_object_store(url: str, store: RemoteStore, root: Path, arrays: Iterable[str]) -> None:
    """Check that a place in an object store, and the folder of its state, may become, or are, an output.

    Args:
        url: of the place.
        store: opened there.
        root: the folder of the state; it need not exist.
        arrays: names of the arrays that stages write.

    Raises:
        InputError: one of the two holds something else, the arrays belong to another folder, or the object store
            refuses or does not answer.
    """
    if root.is_file() or (root.is_dir() and any(root.iterdir()) and not _is_state(root)):
        expected = "an empty folder, or the state of an output of this program"
        raise InputError("output.state", str(root), expected, "choose another output.state")
    try:
        group = zarr.open_group(store, mode="r")
        foreign = [name for name in arrays if _is_foreign(group.get(name))]
    except StoreError as error:
        raise unreachable(url, error) from error
    except FileNotFoundError:
        _require_empty(url, store)
        return
    except (ValueError, KeyError):
        raise InputError("output.path", url, "a Zarr v3 group", _REMEDY) from None
    _check_mark(url, group, root)
    if foreign:
        raise _foreign(url, foreign[0])


def mark_of(root: Path) -> str | None:
    """The mark that the folder `root` of a state holds; None if it holds none."""
    document = read_json(root / STATE_FILE)
    return str(document["mark"]) if isinstance(document, dict) and "mark" in document else None


def unreachable(url: str, error: StoreError) -> InputError:
    """The error of an object store that refuses or does not answer before anything was written."""
    return InputError("output.path", url, "an object store that can be read and written", str(error))


def _check_mark(url: str, group: zarr.Group, root: Path) -> None:
    version, mark = group.attrs.get("fgnet_format"), group.attrs.get("fgnet_state")
    if version not in FORMATS:  # 2, if the arrays of a folder were moved
        expected = f"nothing, or an output of format {FORMAT_VERSION} (found {version or 'something else'})"
        raise InputError("output.path", url, expected, _REMEDY)
    if mark is not None and mark != mark_of(root):
        expected = f"the folder in which the arrays at {url} were begun"
        raise InputError("output.state", str(root), expected, f"name that folder, or {_REMEDY}")


def _require_empty(url: str, store: RemoteStore) -> None:
    try:
        found = collect_aiterator(store.list_dir(""))
    except StoreError as error:
        raise unreachable(url, error) from error
    if found:
        expected = f"nothing, or an output of this program (found {found[0]})"
        raise InputError("output.path", url, expected, _REMEDY)


def _is_state(root: Path) -> bool:
    return (root / STATE_FILE).exists() or (moved_state_of(root) / "progress").is_dir()


def _is_foreign(node: zarr.Array[Any] | zarr.Group | None) -> bool:
    return node is not None and "fgnet_format" not in node.attrs


def _foreign(path: str, name: str) -> InputError:
    expected = f"no array {name!r} that another program wrote"
    return InputError("output.path", path, expected, f"{_REMEDY}, or move that array away")
