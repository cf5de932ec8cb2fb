"""Batches of augmented patches: a function of the iteration alone, drawn here or by processes beside the training."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fgnet.config import NetworkConfig
from fgnet.errors import ModelError
from fgnet.training.chance import Chance
from fgnet.training.sampling import LabelledVolume, draw
from fgnet.training.settings import LoopSettings
from fgnet.training.targets import affinities, erode

Weighted = tuple[Tensor, Tensor]
#: Batches that every drawing process has ready.
AHEAD = 4


@dataclass(frozen=True)
class Batch:
    """raw (B, 1, z, y, x) float32 and labels (B, z, y, x) int32 of patches; whether each is isotropic."""

    raw: Tensor
    labels: Tensor
    isotropic: tuple[bool, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; at once, without waiting for the copy, where its memory is pinned."""
        raw, labels = (t.to(device, non_blocking=t.is_pinned()) for t in (self.raw, self.labels))
        return replace(self, raw=raw, labels=labels)

    def pin_memory(self) -> Batch:
        """Called by torch's loader."""
        return replace(self, raw=self.raw.pin_memory(), labels=self.labels.pin_memory())

    def targets(self, network: NetworkConfig) -> tuple[Weighted, Weighted | None]:
        """(target, weight) of the affinities, and the same pair for the auxiliary offsets; see `affinities`."""
        eroded = [
            erode(labels[None], (0, 1, 2) if isotropic else (1, 2))[0]
            for labels, isotropic in zip(self.labels, self.isotropic, strict=True)
        ]
        main = affinities(self.labels, torch.stack(eroded), network.neighbourhood)
        return main, affinities(self.labels, self.labels, network.auxiliary) if network.auxiliary else None


def make_batch(
    volumes: Sequence[LabelledVolume], settings: LoopSettings, iteration: int, part: int = 0, rank: int = 0
) -> Batch:
    """The batch of an iteration, a function of the arguments alone."""
    phase = settings.phase(iteration)
    patches = [
        draw(volumes, phase.patch, settings.augment, Chance(settings.seed, iteration, part, i))
        for i in range(rank * phase.batch, (rank + 1) * phase.batch)
    ]
    raw = torch.stack([p.raw for p in patches])[:, None].contiguous(memory_format=torch.channels_last_3d)
    return Batch(raw, torch.stack([p.labels for p in patches]), tuple(p.isotropic for p in patches))


@dataclass(frozen=True)
class _Batches(Dataset[Batch]):
    """Batch number n is part n % accumulate of iteration n // accumulate."""

    volumes: Sequence[LabelledVolume]
    settings: LoopSettings
    rank: int

    def __getitem__(self, number: int) -> Batch:
        iteration, part = divmod(number, self.settings.accumulate)
        return make_batch(self.volumes, self.settings, iteration, part, self.rank)


def _end_with_the_training(number: int) -> None:
    """In a drawing process: end when the training was killed. torch watches the fork server instead, which lives on."""
    del number
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def stream(
    volumes: Sequence[LabelledVolume], settings: LoopSettings, first: int, rank: int, loaders: int, pinned: bool
) -> Iterator[Batch]:
    """Every batch from iteration `first` to the end, in order: the same whatever `loaders` is.

    loaders: processes that draw ahead, the volumes in memory that all share; 0 draws when asked. pinned: in page-locked
    memory, which a GPU copies from while it computes.

    Raises:
        ModelError: a drawing process was killed.
    """
    numbers = range(first * settings.accumulate, settings.iterations * settings.accumulate)
    drawn = DataLoader(
        _Batches(volumes, settings, rank),
        batch_size=None,
        sampler=numbers,
        num_workers=loaders,
        prefetch_factor=AHEAD if loaders else None,
        pin_memory=pinned,
        multiprocessing_context="forkserver" if loaders else None,
        worker_init_fn=_end_with_the_training,
    )
    try:
        yield from drawn
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        remedy = "give it more (shared) memory, or lower machine.loaders, and run again: it resumes"
        raise ModelError("machine.loaders", loaders, f"processes that live ({error})", remedy) from error
