"""Several processes in one training, if torchrun started them; else a single process."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Crew:
    """This process is number `rank` of `size`. Each draws its own share of a batch; number 0 writes the files."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """True in the process that writes the files."""
        return self.rank == 0

    def mean(self, value: float) -> float:
        """The mean of a number over all processes."""
        if self.size == 1:
            return value
        tensor: Tensor = torch.tensor(value, dtype=torch.float64)
        if dist.get_backend() == "nccl":
            tensor = tensor.cuda()
        dist.all_reduce(tensor)
        return float(tensor) / self.size

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            dist.barrier()


def join(device: str) -> tuple[Crew, str]:
    """Join the processes that torchrun started, if its environment variables say so.

    Args:
        device: as torch names it.

    Returns:
        This process's place among them, and its device: of `cuda` the GPU of its number on this machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Crew(), device
    cuda = device.startswith("cuda")
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    if cuda:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    return Crew(dist.get_rank(), size), device


def leave() -> None:
    """Leave the processes joined, if any."""
    if dist.is_initialized():
        dist.destroy_process_group()
