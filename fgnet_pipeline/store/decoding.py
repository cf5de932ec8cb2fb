"""Decoding arrays of others rightly: byte order, memory order, checksums, metadata that Zarr takes without a word."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.errors import InputError


def check_metadata(array: zarr.Array[Any], path: str, field: str) -> None:
    """Refuse what Zarr takes without a word: attributes that are no object, and chunks without voxels."""
    attributes: Any = array.metadata.attributes
    if not isinstance(attributes, dict):
        raise InputError(field, f"{path} with attributes {attributes!r:.80}", "attributes that are a JSON object",
                         "correct .zattrs or zarr.json")  # fmt: skip
    if min((*array.chunks, *(array.shards or ())), default=1) < 1:
        found = f"{path} with chunks of {list(array.chunks)}"
        raise InputError(field, found, "chunks of at least one voxel", "correct .zarray or zarr.json")


def with_safe_codecs(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """The array, with Zarr's own codecs if those of the package zarrs (see `use_threads`) do not read it rightly.

    They refuse big-endian values and Fortran order. If only a part of a chunk is read, as at the end of an array, they
    do not look at the checksums of zlib and crc32c, so that a damaged chunk would be taken for a whole one.
    """
    metadata = array.metadata
    checked = "zlib" if array.metadata.zarr_format == 2 else "crc32c"
    stated = json.dumps(metadata.to_dict(), default=str)
    if np.dtype(array.dtype).isnative and getattr(metadata, "order", "C") == "C" and f'"{checked}"' not in stated:
        return array
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        old = array.async_array
        return zarr.Array(zarr.AsyncArray(old.metadata, old.store_path, old.config))


def read_native(array: zarr.Array[Any], selection: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Values of an array, in C order and in the byte order of this machine, however they are stored.

    Raises:
        OSError: a file or an object store cannot be read.
        ValueError: a chunk cannot be decoded, whatever its codec raises.
    """
    try:
        data = np.asarray(array[selection])
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"a chunk cannot be decoded ({type(error).__name__}: {error})") from error
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))
