"""Random numbers that depend on a key alone, so that a resumed training draws what an undisturbed one draws."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


class Chance:
    """A source of random numbers seeded by the integers given (say seed, iteration, sample)."""

    def __init__(self, *key: int) -> None:
        digest = hashlib.sha256(",".join(str(k) for k in key).encode()).digest()
        self.generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def happens(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability

    def integer(self, low: int, high: int) -> int:
        """From low to high - 1."""
        return int(torch.randint(low, high, (), generator=self.generator))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def permutation(self, count: int) -> list[int]:
        return [int(i) for i in torch.randperm(count, generator=self.generator)]
