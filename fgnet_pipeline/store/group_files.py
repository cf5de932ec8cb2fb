"""Small JSON files above an array, on a disk or at a URL: attributes of groups, and properties of data sets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.store.object_store import open_store


def folders_above(path: str, depth: int) -> Iterator[tuple[str, str]]:
    """The folders that hold an array, nearest first, with the path of the array below each.

    If the path leads through links, the folders that hold the array itself come after those that hold the links.

    Args:
        path: folder or URL of the array.
        depth: how many folders to give at most, for the path and for what it links to.
    """
    if is_url(path):
        yield from _above(path.rstrip("/"), depth)
        return
    named, real = os.path.abspath(path), os.path.realpath(path)
    yield from _above(named, depth)
    if real != named:
        yield from _above(real, depth)


def _above(whole: str, depth: int) -> Iterator[tuple[str, str]]:
    parent, _, name = whole.rpartition("/")
    for _ in range(depth):
        if is_url(whole) and not urlsplit(parent).netloc + urlsplit(parent).path.strip("/"):
            return
        yield parent or "/", name
        if not parent:
            return
        parent, _, more = parent.rpartition("/")
        name = f"{more}/{name}"


def plain_path(path: object) -> str | None:
    """A relative path as metadata spell it, without `./` and slashes at its ends; None if it is no text."""
    if not isinstance(path, str):
        return None
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def read_json_file(folder: str, name: str, field: str) -> Any:
    """The content of a JSON file; None if there is no such file.

    Args:
        folder: or URL.
        name: of the file.
        field: the configuration key or option to name in errors.

    Raises:
        InputError: the file cannot be read, or it is not JSON.
    """
    data = _remote_bytes(folder, name, field) if is_url(folder) else _local_bytes(folder, name, field)
    if data is None or (is_url(folder) and data.lstrip()[:1] == b"<"):  # a web server's page in place of "not found"
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        found = f"{folder}/{name}, which is no JSON ({error})"
        raise InputError(field, found, "readable metadata", "correct this file, or move it away") from error


def _local_bytes(folder: str, name: str, field: str) -> bytes | None:
    try:
        return (Path(folder) / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(field, f"{folder}/{name}", "a file that can be read", f"check it ({reason})") from error


def _remote_bytes(folder: str, name: str, field: str) -> bytes | None:
    try:
        found = sync(open_store(folder, field, read_only=True).get(name, default_buffer_prototype()))
    except StoreError as error:
        raise InputError(field, f"{folder}/{name}", "an answer of the store", str(error)) from error
    return None if found is None else found.to_bytes()


def group_attributes(folder: str, field: str) -> dict[str, Any]:
    """The attributes of a Zarr group, of version 2 or 3; empty if there is no group.

    Raises:
        InputError: the files of the group cannot be read.
    """
    old, new = read_json_file(folder, ".zattrs", field), read_json_file(folder, "zarr.json", field)
    attributes = new.get("attributes") if isinstance(new, dict) else None
    return {
        **(old if isinstance(old, dict) else {}),
        **(attributes if isinstance(attributes, dict) else {}),
    }
