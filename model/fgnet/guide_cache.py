"""A cache of guides: encoder and fusion run once per section and xy tile, however tiles overlap in z.

The key of a section is a digest of its voxels, so the cache does not know tiles, blocks or mirrored borders. Two
sections with the same digest of 128 bits are practically impossible. Sections are encoded in batches of one fixed size,
and the last batch is filled up with copies: rounding depends on the size of a batch, and a guide must not depend on
how many other guides were missing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

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
        entries: digest of a section -> its three guides (C, y/s, x/s), least recently used first.
    """

    def __init__(self, network: FGNet, limit: int = DEFAULT_BYTES, batch: int = 1) -> None:
        self.network, self.limit, self.batch = network, limit, batch
        self.held = 0
        self.entries: OrderedDict[bytes, list[Tensor]] = OrderedDict()

    def guides(self, x: Tensor, tile: NDArray[np.float32]) -> list[Tensor]:
        """Three guides (1, C, z, y/s, x/s), s = 4, 8, 16, as `FGNet.guides` makes them.

        Args:
            x: (1, 1, z, y, x) on the network's device.
            tile: float32 (z, y, x), the same values in the host's memory, where sections are digested.
        """
        sections = x[0, 0]
        keys = [_digest(section) for section in tile]
        missing = {k: s for k, s in zip(keys, sections, strict=True) if k not in self.entries}
        for batch in self._batches(list(missing)):
            self._encode(batch, torch.stack([missing[k] for k in batch]))
        for key in keys:
            self.entries.move_to_end(key)
        levels = [torch.stack([self.entries[k][level] for k in keys], dim=1)[None] for level in range(3)]
        self._shrink(len(set(keys)))
        return [g.contiguous(memory_format=torch.channels_last_3d) for g in levels]

    def _batches(self, keys: list[bytes]) -> list[list[bytes]]:
        filled = keys + keys[-1:] * (-len(keys) % self.batch)
        return [filled[i : i + self.batch] for i in range(0, len(filled), self.batch)]

    def _encode(self, keys: list[bytes], sections: Tensor) -> None:
        levels = self.network.guides(sections[None, None])
        for i, key in enumerate(keys):
            if key not in self.entries:
                self.entries[key] = [g[0, :, i].clone() for g in levels]
                self.held += sum(g.numel() * g.element_size() for g in self.entries[key])

    def _shrink(self, keep: int) -> None:
        while self.held > self.limit and len(self.entries) > keep:
            _, dropped = self.entries.popitem(last=False)
            self.held -= sum(g.numel() * g.element_size() for g in dropped)


def _digest(section: NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(section.tobytes(), digest_size=16).digest()
