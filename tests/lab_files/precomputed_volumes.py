"""Neuroglancer precomputed volumes, written by hand: x first, Fortran order.

The rules: github.com/google/neuroglancer, src/datasource/precomputed/volume.md (`info`, names of chunks, raw encoding),
and sharded.md (shards with identity hash). CloudVolume writes chunks to `file://` as `*.gz` (github.com/seung-lab).
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lab_files.specimen import Rendered, Truth, chunks_of, plain


@dataclass
class PrecomputedVolume:
    """The choices of a writer of one volume.

    Attributes:
        truth: what is right to read; its offset is a whole number of voxels.
        chunk: lengths, xyz.
        zipped: chunk files are gzip streams named `*.gz`, as CloudVolume writes them to a disk.
        sharded: chunks lie in shard files.
        shard_bits: `sharded`: how many bits of a chunk's number choose the shard.
        key: folder of the scale.
        says_offset: `voxel_offset` is stated; it may be left out if it is 0.
        channels: `num_channels`.
        sparse: chunks that hold only 0 have no file.
        more_scales: further entries of `scales`, without chunks.
        broken: members of the scale that replace others; None drops one.
        broken_info: members of the info that replace others; None drops one.
    """

    truth: Truth
    chunk: tuple[int, int, int] = (8, 6, 4)
    zipped: bool = False
    sharded: bool = False
    shard_bits: int = 1
    key: str = "4_8_40"
    says_offset: bool = True
    channels: int = 1
    more_scales: int = 0
    sparse: bool = False
    broken: dict[str, Any] = field(default_factory=dict)
    broken_info: dict[str, Any] = field(default_factory=dict)


def render(volume: PrecomputedVolume) -> Rendered:
    """The files of a volume."""
    truth = volume.truth
    assert truth.voxel_size is not None
    stored = truth.voxels.transpose()
    shift = [round(o / v) for o, v in zip(truth.offset, truth.voxel_size, strict=True)][::-1]
    scale: dict[str, Any] = {
        "key": volume.key,
        "size": list(stored.shape),
        "resolution": [plain(v) for v in truth.voxel_size[::-1]],
        "chunk_sizes": [list(volume.chunk)],
        "encoding": "raw",
    }
    if volume.says_offset or any(shift):
        scale["voxel_offset"] = shift
    if volume.sharded:
        scale["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 0, "hash": "identity", "minishard_bits": 0,
            "shard_bits": volume.shard_bits, "minishard_index_encoding": "raw", "data_encoding": "raw",
        }  # fmt: skip
    scale = {k: v for k, v in (scale | volume.broken).items() if v is not None}
    coarser = [
        {**scale, "key": f"{2 << i}", "resolution": [v * (2 << i) for v in truth.voxel_size[::-1]]}
        for i in range(volume.more_scales)
    ]
    info: dict[str, Any] = {
        "@type": "neuroglancer_multiscale_volume",
        "type": "image",
        "data_type": stored.dtype.name,
        "num_channels": volume.channels,
        "scales": [scale, *coarser],
    }
    info = {k: v for k, v in (info | volume.broken_info).items() if v is not None}
    return Rendered({"v/info": info}, _files(volume, stored, shift), "v", "precomputed")


def _files(volume: PrecomputedVolume, stored: Any, shift: list[int]) -> dict[str, bytes]:
    parts = {}
    for index, part in chunks_of(stored, volume.chunk):
        if volume.sparse and not part.any():
            continue
        low = [i * c + s for i, c, s in zip(index, volume.chunk, shift, strict=True)]
        name = "_".join(f"{b}-{b + n}" for b, n in zip(low, part.shape, strict=True))
        little = part.astype(part.dtype.newbyteorder("<"))
        parts[index, name] = little.tobytes(order="F") * volume.channels
    if volume.sharded:
        counts = [-(-n // c) for n, c in zip(stored.shape, volume.chunk, strict=True)]
        return _shards(volume, {compressed_morton(i, counts): content for (i, _), content in parts.items()})
    if volume.zipped:
        return {f"v/{volume.key}/{name}.gz": gzip.compress(content, 1) for (_, name), content in parts.items()}
    return {f"v/{volume.key}/{name}": content for (_, name), content in parts.items()}


def compressed_morton(index: tuple[int, ...], counts: list[int]) -> int:
    """The number of a chunk: bits of x, y, z interleaved, without those that its grid does not need."""
    code, place = 0, 0
    for bit in range(max(n.bit_length() for n in counts)):
        for axis in range(3):
            if (1 << bit) < counts[axis]:
                code |= ((index[axis] >> bit) & 1) << place
                place += 1
    return code


def _shards(volume: PrecomputedVolume, chunks: dict[int, bytes]) -> dict[str, bytes]:
    """Shard files: an index of one minishard, the chunks, and the index of the minishard."""
    files = {}
    for shard in range(1 << volume.shard_bits):
        held = sorted(number for number in chunks if number % (1 << volume.shard_bits) == shard)
        if not held:
            continue
        body = b"".join(chunks[number] for number in held)
        numbers = np.diff([0, *held]).astype("<u8")
        starts = np.zeros(len(held), "<u8")  # each chunk begins at the end of the one before
        sizes = np.asarray([len(chunks[number]) for number in held], "<u8")
        index = np.stack([numbers, starts, sizes]).tobytes()
        head = struct.pack("<QQ", len(body), len(body) + len(index))
        width = -(-volume.shard_bits // 4)
        files[f"v/{volume.key}/{shard:0{width}x}.shard"] = head + body + index
    return files
