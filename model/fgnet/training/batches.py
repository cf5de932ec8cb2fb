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
from fgnet.training.descriptors import Sigma, descriptor_targets
from fgnet.training.patch import LabelledVolume
from fgnet.training.sampling import draw
from fgnet.training.settings import LoopSettings
from fgnet.training.targets import affinities, erode, eroded_axes

Weighted = tuple[Tensor, Tensor]
#: Batches that a drawing process has ready.
AHEAD = 4


@dataclass(frozen=True)
class Batch:
    """Patches for one step of the training.

    Attributes:
        raw: float32 (B, 1, z, y, x), normalised.
        labels: int32 (B, z, y, x), 0 = ignored.
        isotropic: of every patch, False for thin sections.
    """

    raw: Tensor
    labels: Tensor
    isotropic: tuple[bool, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; if its memory is pinned, without waiting for the copy."""
        raw, labels = (t.to(device, non_blocking=t.is_pinned()) for t in (self.raw, self.labels))
        return replace(self, raw=raw, labels=labels)

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; torch's loader calls this."""
        return replace(self, raw=self.raw.pin_memory(), labels=self.labels.pin_memory())

    def targets(self, network: NetworkConfig) -> tuple[Weighted, Weighted | None]:
        """(target, weight) of the affinities, and the same pair for the auxiliary offsets; see `affinities`.

        Labels are eroded for the affinities only: auxiliary offsets are longer than the gap.
        """
        eroded = [
            erode(labels[None], eroded_axes(isotropic))[0]
            for labels, isotropic in zip(self.labels, self.isotropic, strict=True)
        ]
        main = affinities(self.labels, torch.stack(eroded), network.neighbourhood)
        return main, affinities(self.labels, self.labels, network.auxiliary) if network.auxiliary else None

    def descriptors(self, sigma: Sigma) -> Weighted:
        """(target, weight) of local shape descriptors; see `descriptor_targets`."""
        return descriptor_targets(self.labels, sigma)


def make_batch(
    volumes: Sequence[LabelledVolume], settings: LoopSettings, iteration: int, part: int = 0, rank: int = 0
) -> Batch:
    """One batch, a function of the arguments alone.

    Args:
        volumes: what patches are drawn from.
        settings: of the training.
        iteration: counted from 0.
        part: of the batches whose gradients are added up for the iteration.
        rank: of this process; every process has patches of its own.
    """
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
    """Make a drawing process end when the training is killed.

    Torch has it watch the fork server, which survives the training.
    """
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
    """Every batch from iteration `first` to the end, in order; the number of loaders changes none of them.

    Args:
        volumes: what patches are drawn from; the loaders share their memory.
        settings: of the training.
        first: iteration to begin with.
        rank: of this process.
        loaders: processes that draw ahead; 0 draws a batch when it is asked for.
        pinned: put batches into page-locked memory, from which a GPU copies while it computes.

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
