"""Guides of sections seen before: encoder and fusion run once for a section and xy tile, however tiles overlap.

A section is known by its content (a digest of its voxels), so the cache needs to know nothing of tiles, blocks or
mirrored borders, and a wrong hit is as good as impossible. Sections are encoded one at a time (on CUDA in batches of
fixed shape), so that a guide never depends on what else was missing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor

from fgnet.network import FGNet

CUDA_BATCH = 16
DEFAULT_BYTES = 1 << 30


class GuideCache:
    """Least recently used guides, at most `limit` bytes of them (and never fewer than one tile needs)."""

    def __init__(self, network: FGNet, limit: int = DEFAULT_BYTES) -> None:
        self.network, self.limit = network, limit
        self.held = 0
        self.entries: OrderedDict[bytes, list[Tensor]] = OrderedDict()

    def guides(self, x: Tensor) -> list[Tensor]:
        """(1, 1, z, y, x) -> three guides (1, C, z, y/s, x/s), as `FGNet.guides` gives them."""
        sections = x[0, 0]
        keys = [hashlib.blake2b(s.numpy().tobytes(), digest_size=16).digest() for s in sections.cpu().contiguous()]
        missing = {k: s for k, s in zip(keys, sections, strict=True) if k not in self.entries}
        for batch in self._batches(list(missing)):
            self._encode(batch, torch.stack([missing[k] for k in batch]))
        for key in keys:
            self.entries.move_to_end(key)
        levels = [torch.stack([self.entries[k][level] for k in keys], dim=1)[None] for level in range(3)]
        self._shrink(len(set(keys)))
        return [g.contiguous(memory_format=torch.channels_last_3d) for g in levels]

    def _batches(self, keys: list[bytes]) -> list[list[bytes]]:
        if next(self.network.parameters()).device.type == "cpu":
            return [[k] for k in keys]
        filled = keys + keys[-1:] * (-len(keys) % CUDA_BATCH)
        return [filled[i : i + CUDA_BATCH] for i in range(0, len(filled), CUDA_BATCH)]

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
