"""Arrays of Zarr v2 and v3, written by hand.

Zarr v2: zarr-specs.readthedocs.io/en/latest/v2/v2.0.html (`.zarray`, chunk keys, `dimension_separator`, `order`).
Zarr v3: zarr-specs.readthedocs.io/en/latest/v3/core (`zarr.json`, chunk key encodings) and its codecs `bytes`,
`transpose`, `gzip`, `zstd`, `blosc`, `crc32c` and `sharding_indexed`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import crc32c
import numcodecs
import numpy as np
from numpy.typing import NDArray

from lab_files.specimen import chunks_of, padded

#: Name -> (configuration in Zarr v2, codec in Zarr v3). Each checks what it decodes, except "none" and "blosc".
COMPRESSORS: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    "none": (None, None),
    "gzip": ({"id": "gzip", "level": 3}, {"name": "gzip", "configuration": {"level": 3}}),
    "zstd": ({"id": "zstd", "level": 3, "checksum": True},
             {"name": "zstd", "configuration": {"level": 3, "checksum": True}}),
    "blosc": ({"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
              {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle",
                                                  "typesize": 1, "blocksize": 0}}),
    "zlib": ({"id": "zlib", "level": 2}, None),
    "bz2": ({"id": "bz2", "level": 1}, None),
    "lz4": ({"id": "lz4", "acceleration": 1}, None),
}  # fmt: skip
#: Those that Zarr v3 has.
IN_V3 = ("none", "gzip", "zstd", "blosc")
CHECKED = ("gzip", "zstd", "zlib", "bz2")


@dataclass
class ArrayForm:
    """The choices of a writer of one array.

    Attributes:
        version: of Zarr, 2 or 3.
        chunks: per stored axis; None: one chunk of 4 x 6 x 8 voxels, or less.
        big_endian: byte order of values of more than one byte.
        fortran: order F in v2; in v3 a `transpose` codec that reverses the axes.
        separator: of chunk keys.
        says_separator: v2 only: `dimension_separator` is stated; it may be left out if it is ".".
        compressor: a key of `COMPRESSORS`.
        fill: value of chunks that are not stored.
        crc: v3: a `crc32c` codec comes last.
        sharded: v3: chunks are inner chunks of shards of twice their length.
        index_first: v3: the index of a shard stands at its start.
        key_encoding: v3: "default" or "v2".
        omit_fill: chunks that hold nothing but the fill value have no file.
        extra_members: added to the metadata.
    """

    version: int = 2
    chunks: tuple[int, ...] | None = None
    big_endian: bool = False
    fortran: bool = False
    separator: str = "."
    says_separator: bool = True
    compressor: str = "zlib"
    fill: int = 0
    crc: bool = False
    sharded: bool = False
    index_first: bool = False
    key_encoding: str = "default"
    omit_fill: bool = False
    extra_members: dict[str, Any] = field(default_factory=dict)

    @property
    def checked(self) -> bool:
        """Whether changed bytes of a chunk are noticed."""
        return self.crc or self.compressor in CHECKED


def rendered_array(
    data: NDArray[Any], form: ArrayForm, folder: str, attributes: dict[str, Any], names: list[str] | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The files of one array.

    Args:
        data: in the order of the stored axes.
        form: how it is written.
        folder: of the array.
        attributes: of the array.
        names: `dimension_names`, v3 only.

    Returns:
        (JSON documents, other files), by path.
    """
    usual = (4, 6, 8) if data.ndim == 3 else (1,) * (data.ndim - 3) + (4, 6, 8)
    chunks = form.chunks or tuple(min(n, c) for n, c in zip(data.shape, usual, strict=True))
    if form.version == 2:
        return _v2(data, form, chunks, folder, attributes)
    return _v3(data, form, chunks, folder, attributes, names)


def _v2(
    data: NDArray[Any], form: ArrayForm, chunks: tuple[int, ...], folder: str, attributes: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    kind = data.dtype.newbyteorder(">" if form.big_endian else "<")
    settings, order = COMPRESSORS[form.compressor][0], "F" if form.fortran else "C"
    document = {
        "zarr_format": 2, "shape": list(data.shape), "chunks": list(chunks), "dtype": kind.str, "compressor": settings,
        "fill_value": form.fill, "order": order, "filters": None, **form.extra_members,
    }  # fmt: skip
    if form.says_separator or form.separator != ".":
        document["dimension_separator"] = form.separator
    codec = numcodecs.get_codec(settings) if settings else None
    files = {}
    for index, part in chunks_of(data, chunks):
        if form.omit_fill and (part == form.fill).all():
            continue
        content = padded(part, chunks, form.fill).astype(kind).tobytes(order=order)
        files[f"{folder}/{form.separator.join(map(str, index))}"] = bytes(codec.encode(content)) if codec else content
    documents = {f"{folder}/.zarray": document}
    if attributes:
        documents[f"{folder}/.zattrs"] = attributes
    return documents, files


def _v3(
    data: NDArray[Any],
    form: ArrayForm,
    chunks: tuple[int, ...],
    folder: str,
    attributes: dict[str, Any],
    names: list[str] | None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    inner = _codecs(form, data)
    outer, shape = inner, chunks
    if form.sharded:
        shape = tuple(2 * c for c in chunks)
        outer = [_sharding(chunks, inner, form)]
    document = {
        "zarr_format": 3, "node_type": "array", "shape": list(data.shape), "data_type": data.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape)}},
        "chunk_key_encoding": {"name": form.key_encoding, "configuration": {"separator": form.separator}},
        "fill_value": form.fill, "codecs": outer, "attributes": attributes, **form.extra_members,
    }  # fmt: skip
    if names is not None:
        document["dimension_names"] = names
    files, start = {}, "c" if form.key_encoding == "default" else None
    for index, part in chunks_of(data, shape):
        if form.omit_fill and (part == form.fill).all():
            continue
        full = padded(part, shape, form.fill)
        content = _shard(full, chunks, form) if form.sharded else _encoded(full, form)
        key = form.separator.join([*([start] if start else []), *map(str, index)])
        files[f"{folder}/{key}"] = content
    return {f"{folder}/zarr.json": document}, files


def _codecs(form: ArrayForm, data: NDArray[Any]) -> list[dict[str, Any]]:
    """The chain of codecs of one chunk, in the order of encoding."""
    chain: list[dict[str, Any]] = []
    if form.fortran:
        chain.append({"name": "transpose", "configuration": {"order": list(range(data.ndim))[::-1]}})
    one_byte = data.dtype.itemsize == 1
    endian = {"endian": "big" if form.big_endian else "little"}
    chain.append({"name": "bytes"} if one_byte else {"name": "bytes", "configuration": endian})
    codec = COMPRESSORS[form.compressor][1]
    if codec:
        chain.append(codec)
    if form.crc:
        chain.append({"name": "crc32c"})
    return chain


def _sharding(chunks: tuple[int, ...], inner: list[dict[str, Any]], form: ArrayForm) -> dict[str, Any]:
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    configuration: dict[str, Any] = {"chunk_shape": list(chunks), "codecs": inner, "index_codecs": index}
    configuration["index_location"] = "start" if form.index_first else "end"
    return {"name": "sharding_indexed", "configuration": configuration}


def _encoded(full: NDArray[Any], form: ArrayForm) -> bytes:
    values = full.transpose() if form.fortran else full
    content = values.astype(values.dtype.newbyteorder(">" if form.big_endian else "<")).tobytes()
    settings = COMPRESSORS[form.compressor][0]
    if settings:
        content = bytes(numcodecs.get_codec(settings).encode(content))
    return content + _crc(content) if form.crc else content


def _shard(full: NDArray[Any], chunks: tuple[int, ...], form: ArrayForm) -> bytes:
    """A shard: inner chunks one after another, and an index of (start, length) with its checksum."""
    parts = [_encoded(part, form) for _, part in chunks_of(full, chunks)]
    index_length = 16 * len(parts) + 4
    start, places = index_length if form.index_first else 0, []
    for part in parts:
        places.append((start, len(part)))
        start += len(part)
    index = np.asarray(places, "<u8").tobytes()
    index += _crc(index)
    return index + b"".join(parts) if form.index_first else b"".join(parts) + index


def _crc(content: bytes) -> bytes:
    return struct.pack("<I", crc32c.crc32c(content))
