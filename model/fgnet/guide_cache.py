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

#: If tiles follow one another along z, no more than one tile's guides are needed, and the cache may be small.
DEFAULT_BYTES = 1 << 24


class GuideCache:
    """The guides used last.

    Attributes:
        network: whose encoder and fusion make guides.
        limit: bytes of guides that are kept at most; those of the last tile are kept in any case.
        batch: sections per call of the encoder.
        held: bytes of the guides kept now.
        entries: key of a section -> its three guides (C, y/s, x/s), least recently used first.
    """

    def __init__(self, network: FGNet, limit: int = DEFAULT_BYTES, batch: int = 1) -> None:
        self.network, self.limit, self.batch = network, limit, batch
        self.held = 0
        self.entries: OrderedDict[Hashable, list[Tensor]] = OrderedDict()

    def guides(self, x: Tensor, keys: Sequence[Hashable]) -> list[Tensor]:
        """Three guides (1, C, z, y/s, x/s), s = 4, 8, 16, as `FGNet.guides` makes them.

        Args:
            x: (1, 1, z, y, x) on the network's device.
            keys: one for each of the z sections.
        """
        sections = x[0, 0]
        missing = {k: s for k, s in zip(keys, sections, strict=True) if k not in self.entries}
        for batch in self._batches(list(missing)):
            self._encode(batch, torch.stack([missing[k] for k in batch]))
        for key in keys:
            self.entries.move_to_end(key)
        levels = [torch.stack([self.entries[k][level] for k in keys], dim=1)[None] for level in range(3)]
        self._shrink(len(set(keys)))
        return [g.contiguous(memory_format=torch.channels_last_3d) for g in levels]

    def _batches(self, keys: list[Hashable]) -> list[list[Hashable]]:
        filled = keys + keys[-1:] * (-len(keys) % self.batch)
        return [filled[i : i + self.batch] for i in range(0, len(filled), self.batch)]

    def _encode(self, keys: list[Hashable], sections: Tensor) -> None:
        levels = self.network.guides(sections[None, None])
        for i, key in enumerate(keys):
            if key not in self.entries:
                self.entries[key] = [g[0, :, i].clone() for g in levels]
                self.held += sum(g.numel() * g.element_size() for g in self.entries[key])

    def _shrink(self, keep: int) -> None:
        while self.held > self.limit and len(self.entries) > keep:
            _, dropped = self.entries.popitem(last=False)
            self.held -= sum(g.numel() * g.element_size() for g in dropped)


def digests(tile: NDArray[np.float32]) -> list[Hashable]:
    """Keys of the sections of a tile (z, y, x). That two sections share one by accident is practically impossible."""
    return [hashlib.blake2b(section.tobytes(), digest_size=16).digest() for section in tile]
