"""Describes an array of any Zarr format as an array of Zarr v3, for readers that get its chunks as they are stored.

What is written here of such a reader holds for Neuroglancer 2.41 (`src/datasource/zarr`): its data types, its codecs,
and that it takes an array of 64-bit integers for ids without a sign.
"""

from __future__ import annotations

import json
from itertools import chain, count
from math import prod
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata import ArrayV2Metadata

#: Data types of numbers that are shown, in Zarr's notation.
NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
#: Data types of ids whose bytes are read as another type: ids keep their bits.
IDS_READ_AS = {"int64": "uint64", "bool": "uint8"}
CODECS = ("transpose", "bytes", "blosc", "gzip", "zlib", "zstd", "crc32c")
#: Codecs that may encode the index of a shard: those of a fixed size.
INDEX_CODECS = ("bytes", "crc32c")
#: A browser decodes a chunk as a whole. Larger ones (bytes) fill its memory.
LARGEST_CHUNK = 1 << 27
#: From here on JavaScript loses integers.
EXACT = 1 << 53
Document = dict[str, Any]


def stored_document(array: zarr.Array[Any], is_ids: bool) -> Document | None:
    """The content of a `zarr.json` for an array whose chunks are given as stored.

    Args:
        array: opened for reading; its metadata name its chunks rightly (`fgnet_pipeline.store.chunk_names`).
        is_ids: whether its values are ids.

    Returns:
        A document without attributes and names of axes; None if the reader cannot decode the chunks.
    """
    if prod(array.chunks) * np.dtype(array.dtype).itemsize > LARGEST_CHUNK:
        return None
    stated = _stated(array)
    document = _from_v2(stated) if isinstance(array.metadata, ArrayV2Metadata) else _from_v3(stated)
    if document is None:
        return None
    if is_ids:
        document["data_type"] = IDS_READ_AS.get(document["data_type"], document["data_type"])
        document["fill_value"] = int(document["fill_value"])
    fits = document["data_type"] in NUMBERS and _is_exact(document["fill_value"])
    return document if fits and _can_decode(document["codecs"]) else None


def stored_names(array: zarr.Array[Any]) -> tuple[str, ...]:
    """The names of the axes that Neuroglancer finds in the metadata of an array: it names those without one itself.

    Args:
        array: of Zarr v2 or v3, with its own metadata.
    """
    stated: Any
    if isinstance(array.metadata, ArrayV2Metadata):
        stated, prefix = array.attrs.get("_ARRAY_DIMENSIONS"), "d"
    else:
        stated, prefix = array.metadata.dimension_names, "dim_"
    found: list[str] = []
    for axis, name in enumerate(stated or [None] * array.ndim):
        numbered = (f"{prefix}{i}" for i in count(axis)) if name is None else (f"{name}{i}" for i in count(1))
        tries = chain([] if name is None else [name], numbered)
        found.append(next(each for each in tries if each not in found))
    return tuple(found)


def computed_document(shape: tuple[int, ...], chunk: tuple[int, ...], dtype: np.dtype[Any]) -> Document:
    """The content of a `zarr.json` for an array whose chunks are made when they are asked for, without compression."""
    return _document(shape, chunk, dtype.name, 0, {"name": "default", "configuration": {"separator": "/"}}, [_BYTES])


_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def _document(
    shape: Any, chunk: Any, data_type: str, fill: Any, encoding: Document, codecs: list[Document]
) -> Document:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": encoding,
        "fill_value": fill,
        "codecs": codecs,
    }


def _stated(array: zarr.Array[Any]) -> Document:
    """The metadata of an array, as Zarr would write them."""
    files = array.metadata.to_buffer_dict(default_buffer_prototype())
    name = ".zarray" if isinstance(array.metadata, ArrayV2Metadata) else "zarr.json"
    document: Document = json.loads(files[name].to_bytes())
    return document


def _from_v3(stated: Document) -> Document | None:
    encoding, grid = stated["chunk_key_encoding"], stated["chunk_grid"]
    known = grid["name"] == "regular" and encoding["name"] in ("default", "v2")
    if not known or stated.get("storage_transformers") or not isinstance(stated["data_type"], str):
        return None
    chunk = grid["configuration"]["chunk_shape"]
    return _document(stated["shape"], chunk, stated["data_type"], stated["fill_value"], encoding, stated["codecs"])


def _from_v2(stated: Document) -> Document | None:
    """Zarr v2 as v3 (zarr-specs.readthedocs.io, "Zarr Storage Specification Version 2")."""
    if stated.get("filters") or not isinstance(stated["dtype"], str):
        return None
    dtype = np.dtype(stated["dtype"])
    codecs: list[Document] = []
    if stated["order"] == "F":
        codecs.append({"name": "transpose", "configuration": {"order": list(range(len(stated["shape"])))[::-1]}})
    codecs.append({"name": "bytes", "configuration": {"endian": "big" if stated["dtype"][0] == ">" else "little"}})
    compressor = stated["compressor"]
    if compressor is not None:
        settings = {key: value for key, value in compressor.items() if key != "id"}
        codecs.append({"name": compressor["id"], "configuration": settings})
    encoding = {"name": "v2", "configuration": {"separator": stated.get("dimension_separator", ".")}}
    fill = stated["fill_value"] if stated["fill_value"] is not None else 0
    return _document(stated["shape"], stated["chunks"], dtype.name, fill, encoding, codecs)


def _is_exact(fill: Any) -> bool:
    return isinstance(fill, int | float) and not isinstance(fill, bool) and abs(fill) < EXACT


def _can_decode(codecs: list[Document]) -> bool:
    """Whether the reader knows every codec, also those inside shards."""
    for codec in codecs:
        settings = codec.get("configuration", {})
        if codec["name"] == "sharding_indexed":
            index = [inner["name"] for inner in settings["index_codecs"]]
            if not set(index) <= set(INDEX_CODECS) or not _can_decode(settings["codecs"]):
                return False
        elif codec["name"] not in CODECS:
            return False
    return True
