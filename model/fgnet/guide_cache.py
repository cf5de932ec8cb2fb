"""A cache of guides: encoder and fusion run once per section and xy tile, however tiles overlap in z.

The caller names sections by keys. A key is a digest of the section's voxels, or its place where the caller knows it;
equal keys promise equal voxels. Sections are encoded in batches of one fixed size, and the last batch is filled up with
copies: rounding depends on the size of a batch, and a guide must not depend on how many other guides were missing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgnet.network import FGNet
from fgnet.tensors import sent_to

#: If tiles follow one another along z, no more than one tile's guides are needed, and the cache may be small.
DEFAULT_BYTES = 1 << 24


class GuideCache:
    """The guides used last, in one tensor per level, so that a few kernels store and fetch those of a whole tile.

    Attributes:
        network: whose encoder and fusion make guides.
        limit: bytes of guides that are kept at most; those of the last tile are kept in any case.
        batch: sections per call of the encoder.
        rows: key of a section -> its row in every level, least recently used first.
        levels: three tensors (rows, C, y/s, x/s), s = 4, 8, 16; none before the first section.
    """

    def __init__(self, network: FGNet, limit: int = DEFAULT_BYTES, batch: int = 1) -> None:
        self.network, self.limit, self.batch = network, limit, batch
        self.rows: OrderedDict[Hashable, int] = OrderedDict()
        self.levels: list[Tensor] = []

    @property
    def held(self) -> int:
        """Bytes of the tensors."""
        return sum(level.numel() * level.element_size() for level in self.levels)

    def guides(self, x: Tensor, keys: Sequence[Hashable]) -> list[Tensor]:
        """Three guides (1, C, z, y/s, x/s), s = 4, 8, 16, as `FGNet.guides` makes them.

        Args:
            x: (1, 1, z, y, x) on the network's device.
            keys: one for each of the z sections.
        """
        sections = dict(zip(keys, x[0, 0], strict=True))
        missing = [key for key in sections if key not in self.rows]
        for key in keys:
            if key in self.rows:
                self.rows.move_to_end(key)
        for first in range(0, len(missing), self.batch):
            batch = missing[first : first + self.batch]
            filled = batch + batch[-1:] * (self.batch - len(batch))
            guides = self.network.guides(torch.stack([sections[key] for key in filled])[None, None])
            self._store(batch, guides, len(sections))
        rows = sent_to(torch.tensor([self.rows[key] for key in keys]), x.device)
        fetched = (level.index_select(0, rows).transpose(0, 1)[None] for level in self.levels)
        return [guide.contiguous(memory_format=torch.channels_last_3d) for guide in fetched]

    def _store(self, keys: list[Hashable], guides: list[Tensor], needed: int) -> None:
        """Keep the guides (1, C, batch, y/s, x/s) of sections in the place of those not used for longest.

        Args:
            keys: of the first sections of the batch; the others are copies.
            guides: of the batch.
            needed: sections of the tile, which have room together.
        """
        self._make_room(guides, needed)
        for key in keys:
            free = len(self.rows)
            if free == len(self.levels[0]):
                _, free = self.rows.popitem(last=False)
            self.rows[key] = free
        rows = sent_to(torch.tensor([self.rows[key] for key in keys]), guides[0].device)
        for level, guide in zip(self.levels, guides, strict=True):
            level.index_copy_(0, rows, guide[0, :, : len(keys)].transpose(0, 1))

    def _make_room(self, guides: list[Tensor], needed: int) -> None:
        """Make tensors with a row for each section of a tile, and for as many as the limit allows."""
        if self.levels and len(self.levels[0]) >= needed:
            return
        section = sum(guide[0, :, 0].numel() * guide.element_size() for guide in guides)
        former, count = self.levels, max(needed, self.limit // section)
        self.levels = [guide.new_empty((count, *guide[0, :, 0].shape)) for guide in guides]
        for level, kept in zip(self.levels, former, strict=False):
            level[: len(kept)] = kept


def digests(tile: NDArray[np.float32]) -> list[Hashable]:
    """Keys of the sections of a tile (z, y, x). That two sections share one by accident is practically impossible."""
    return [hashlib.blake2b(section.tobytes(), digest_size=16).digest() for section in tile]
