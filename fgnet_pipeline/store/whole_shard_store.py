"""A view of a store for writing blocks whose shards are replaced as a whole."""

from __future__ import annotations

from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


class Blank(WrapperStore[Store]):
    """A store in which every chunk and shard can be written, but seems to be missing when it is read.

    Zarr 3.1 reads a shard before it writes it, even if all of it is replaced. Over a network that takes as long as the
    write, and it fails if the shard is damaged.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        return await super().get(key, prototype, byte_range) if key.endswith(_METADATA) else None

    async def get_partial_values(self, prototype: BufferPrototype, key_ranges: Any) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
