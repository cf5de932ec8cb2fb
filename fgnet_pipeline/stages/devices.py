"""The device of a worker of stage predict, and what torch's errors on a GPU mean: too little memory, or a lost GPU.

Torch is imported inside the functions: models without weights do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from fgnet_pipeline.core.errors import InputError, WorkerLostError
from fgnet_pipeline.core.geometry import Vector

if TYPE_CHECKING:
    from fgnet.tiles import Predictor

#: `cudaErrorMemoryAllocation` of the CUDA runtime.
OUT_OF_MEMORY = 2
#: What frees memory on a GPU and changes no result.
FREE_MEMORY = "end other programs that use this GPU, or set a smaller schedule.predict.workers if its workers share it"


def choose_device(wanted: str, worker: int) -> str:
    """Choose the torch device of a worker.

    Args:
        wanted: `auto`, `cpu` or `cuda`.
        worker: number of the worker; worker i gets GPU i modulo the number of GPUs.

    Raises:
        InputError: `cuda` is wanted, but torch sees no CUDA device.
    """
    if wanted == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0 and wanted == "cuda":
        raise InputError("model.device", "cuda", "a CUDA device that torch can see", "use model.device=auto or cpu")
    return f"cuda:{worker % count}" if count else "cpu"


def compute_one_tile(predictor: Predictor) -> None:
    """Compute a tile: it loads all kernels, so that no block waits for them, and shows whether there is memory."""
    z, y, x = predictor.geometry.tile
    sections = np.arange(z, dtype=np.float32)[:, None, None]  # all different: equal ones would be encoded once
    predictor(np.broadcast_to(sections, (1, z, y, x)))


def errors_while_opening(device: str, tile: Vector, mode: str, smaller_in_exact: bool) -> AbstractContextManager[None]:
    """Turn errors of a GPU, while a worker loads the network and computes one tile, into sentences.

    Args:
        device: as torch names it; errors of a CPU stay as they are.
        tile: shape of the tile, in voxels, zyx.
        mode: `model.mode`.
        smaller_in_exact: whether mode `exact` has smaller tiles.

    Raises:
        InputError: in the context: the GPU has too little memory, or does not work.
    """

    def no_memory() -> InputError:
        exact = "use model.mode=exact, whose tiles are smaller, or " if smaller_in_exact else "use "
        expected = f"memory for one tile of {_shape(tile)} voxels in mode {mode}, which needs {_memory(device)}"
        return InputError("model.device", device, expected, f"{FREE_MEMORY}; otherwise {exact}model.device=cpu")

    def lost(reason: str) -> InputError:
        remedy = "see nvidia-smi and the log of the kernel (dmesg), or use model.device=cpu"
        return InputError("model.device", device, f"a GPU that works ({reason})", remedy)

    return _translated(device, no_memory, lost)


def errors_while_computing(device: str, block_shape: Vector) -> AbstractContextManager[None]:
    """Turn errors of a GPU, while a worker computes a block, into sentences.

    Args:
        device: as torch names it; errors of a CPU stay as they are.
        block_shape: of the stage, in voxels, zyx.

    Raises:
        InputError: in the context: the GPU has too little memory for the block.
        WorkerLostError: in the context: this process cannot use the GPU any more.
    """

    def no_memory() -> InputError:
        expected = f"blocks that fit into the memory of {device}; these need {_memory(device)}"
        remedy = f"{FREE_MEMORY}; otherwise set smaller blocks, for which predict begins anew (--redo predict)"
        return InputError("schedule.predict.block_shape", list(block_shape), expected, remedy)

    def lost(reason: str) -> WorkerLostError:
        return WorkerLostError(f"the GPU {device} was lost ({reason}); the log of the kernel (dmesg) may say why")

    return _translated(device, no_memory, lost)


@contextmanager
def _translated(device: str, no_memory: Callable[[], Exception], lost: Callable[[str], Exception]) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if device == "cpu":
            raise
        if _lacks_memory(error):
            raise no_memory() from error
        if _is_lost(device):
            raise lost(_first_line(error)) from error
        raise


def _lacks_memory(error: RuntimeError) -> bool:
    """Whether an error says that the memory of a GPU is used up.

    Torch's allocator raises `OutOfMemoryError`. If CUDA itself finds no memory, for a context or a stream, torch raises
    `AcceleratorError`, whose `error_code` is CUDA's (torch/csrc/Exceptions.cpp).
    """
    import torch

    return isinstance(error, torch.OutOfMemoryError) or getattr(error, "error_code", None) == OUT_OF_MEMORY


def _is_lost(device: str) -> bool:
    """Whether this process cannot use a GPU any more.

    After an error of the hardware or inside a kernel, every call of CUDA fails, and "the process must be terminated and
    relaunched" (CUDA Runtime API, `cudaErrorIllegalAddress` and others). All other errors come once. So one more call
    tells, whatever library the error came from; it asks for nothing, and waits for the kernels of other lanes.
    """
    import torch

    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def _memory(device: str) -> str:
    """How much memory the failed work needs at least, and what there was."""
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_allocated(device)
        most = torch.cuda.max_memory_allocated(device)
    except RuntimeError:
        return "more than is free: there was not even room for CUDA itself"
    # What was asked for last did not fit beside what torch held, even after torch had given back what it kept unused.
    needed, free_gb, total_gb, held_gb = (f"{n / 1e9:.2f} GB" for n in (max(held + free, most), free, total, held))
    return f"more than {needed} ({free_gb} of {total_gb} were free, and this worker held {held_gb})"


def _shape(tile: Vector) -> str:
    return "x".join(map(str, tile))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
