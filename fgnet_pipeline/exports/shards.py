"""Shards of Neuroglancer's precomputed format: the chunks of one block in one file.

Source: "Sharded format" of https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed (sharded.md),
and "Sharded chunk storage" of its volume.md. Chunks are numbered in Morton order, without the bits that an axis does
not need. The lowest bits number the chunks of a block of 2^k chunks per axis, so such a block is a whole shard.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgnet_pipeline.core.geometry import Vector

_ENTRY = struct.Struct("<QQ")


@dataclass(frozen=True)
class Sharding:
    """The layout of the chunks of one scale in shards.

    Attributes:
        grid: number of chunks along each axis, zyx.
        width: a shard has 2^width chunks along each axis, fewer along an axis that is shorter.
    """

    grid: Vector
    width: int

    @property
    def _bits(self) -> list[int]:
        """Bits of the chunk position along x, y and z."""
        return [(length - 1).bit_length() for length in self.grid[::-1]]

    @property
    def inner_bits(self) -> int:
        """Bits of a chunk's number that tell it from the other chunks of its shard."""
        return sum(min(self.width, bits) for bits in self._bits)

    @property
    def shard_bits(self) -> int:
        """Bits of a chunk's number that tell its shard."""
        return sum(self._bits) - self.inner_bits

    def to_json(self) -> dict[str, Any]:
        """The member `sharding` of a scale. A shard has one minishard."""
        return {
            "@type": "neuroglancer_uint64_sharded_v1",
            "hash": "identity",
            "preshift_bits": self.inner_bits,
            "minishard_bits": 0,
            "shard_bits": self.shard_bits,
            "minishard_index_encoding": "gzip",
            "data_encoding": "gzip",
        }

    def number(self, chunk: Vector) -> int:
        """The number of the chunk at the position `chunk`, zyx: its compressed Morton code."""
        code, place, bits = 0, 0, self._bits
        for bit in range(max(bits)):
            for position, length in zip(chunk[::-1], bits, strict=True):
                if bit < length:
                    code |= (position >> bit & 1) << place
                    place += 1
        return code

    def file_name(self, chunk: Vector) -> str:
        """The file of the shard that holds the chunk at the position `chunk`, zyx."""
        digits = -(-self.shard_bits // 4)
        shard = self.number(chunk) >> self.inner_bits
        return f"{shard:0{digits}x}.shard" if digits else "0.shard"

    def encoded(self, chunks: Mapping[Vector, bytes]) -> bytes:
        """The file of a shard.

        Args:
            chunks: the encoded chunks by position, zyx; all of one shard.
        """
        numbered = sorted((self.number(position), data) for position, data in chunks.items())
        data = [_compressed(chunk) for _, chunk in numbered]
        numbers = np.asarray([number for number, _ in numbered], np.uint64)
        index = np.zeros((3, len(numbers)), "<u8")
        index[0] = np.diff(numbers, prepend=np.uint64(0))
        index[2] = [len(part) for part in data]  # row 1, the gaps between chunks, stays 0
        compressed, end = _compressed(index.tobytes()), sum(map(len, data))
        return b"".join([_ENTRY.pack(end, end + len(compressed)), *data, compressed])


def _compressed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)
