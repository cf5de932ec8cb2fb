"""A view of a store for blocks that are replaced whole."""

from __future__ import annotations

from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


class Blank(WrapperStore[Store]):
    """``store``, in which every chunk and shard seems to be missing while it can be written.

    Zarr 3.1 reads a shard even where all of it is replaced: over a network that costs as much as writing it, and a
    shard that was torn stops it.
    """

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        return await super().get(key, prototype, byte_range) if key.endswith(_METADATA) else None

    async def get_partial_values(self, prototype: BufferPrototype, key_ranges: Any) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
