"""Random numbers that depend on a key alone, so that a resumed training draws what an undisturbed one draws."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from fgnet.geometry import Triple


class Chance:
    """A source of random numbers, seeded by the integers given (for example seed, iteration, part, sample)."""

    def __init__(self, *key: int) -> None:
        digest = hashlib.sha256(",".join(str(k) for k in key).encode()).digest()
        self.generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    def uniform(self, low: float, high: float) -> float:
        """A number of [low, high)."""
        return low + (high - low) * float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def happens(self, probability: float) -> bool:
        """True with a probability of 0 to 1."""
        return self.uniform(0, 1) < probability

    def integer(self, low: int, high: int) -> int:
        """A whole number of low to high - 1."""
        return int(torch.randint(low, high, (), generator=self.generator))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """float32 of `shape`, normally distributed with mean 0 and standard deviation 1."""
        return torch.randn(shape, generator=self.generator)

    def permutation(self, count: int) -> list[int]:
        """The numbers 0 to count - 1 in a random order."""
        return [int(i) for i in torch.randperm(count, generator=self.generator)]

    def box(self, shape: Triple | torch.Size, largest: float = 0.35) -> tuple[slice, slice, slice]:
        """Slices of a random zyx box inside `shape`; each edge is a tenth of the axis up to `largest` of it."""
        slices = []
        for size in shape:
            edge = max(1, int(size * self.uniform(0.1, largest)))
            begin = self.integer(0, size - edge + 1)
            slices.append(slice(begin, begin + edge))
        z, y, x = slices
        return z, y, x
