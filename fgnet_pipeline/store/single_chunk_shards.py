"""Tells a shard that holds one chunk from the chunk itself, for arrays whose metadata are lost."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable
from pathlib import Path

#: The index of a shard with one chunk: offset and length of the chunk, and the checksum of the index. It ends the file
#: (Zarr's codec sharding_indexed 1.0, https://zarr-specs.readthedocs.io).
_INDEX = struct.Struct("<QQI")
#: How many files are looked at: some may be damaged.
_FILES = 16


def are_shards(files: Iterable[Path]) -> bool | None:
    """Whether files of an array, in each of which there is room for one chunk, are shards.

    Args:
        files: of the array, some of which may be damaged; only the first ones are read.

    Returns:
        None if there is no file.
    """
    found = [_is_shard(path) for path in itertools.islice(files, _FILES)]
    return any(found) if found else None


def _is_shard(path: Path) -> bool:
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= _INDEX.size:
            return False
        stream.seek(size - _INDEX.size)
        offset, length, _ = _INDEX.unpack(stream.read(_INDEX.size))
    return offset == 0 and length == size - _INDEX.size
