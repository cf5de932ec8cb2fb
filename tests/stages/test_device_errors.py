"""What torch raises on a GPU, as sentences. No GPU is needed: torch's own exceptions are raised in its place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
import torch

from fgnet_pipeline.core.errors import InputError, WorkerLostError
from fgnet_pipeline.stages.devices import errors_while_computing, errors_while_opening

GB = 10**9
Context = Callable[[str], AbstractContextManager[None]]
COMPUTING: Context = partial(errors_while_computing, block_shape=(64, 448, 448))


def opening(device: str, smaller: bool = True) -> AbstractContextManager[None]:
    return errors_while_opening(device, (16, 512, 512), "fast", smaller)


def of_cuda(code: int, text: str) -> torch.AcceleratorError:
    """An error as torch makes it of one of CUDA's."""
    error = torch.AcceleratorError(f"CUDA error: {text}\nCUDA kernel errors might be asynchronously reported")
    error.error_code = code
    return error


ILLEGAL_ADDRESS = of_cuda(700, "an illegal memory access was encountered")
NO_MEMORY = (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), of_cuda(2, "out of memory"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of 8 GB, of which others hold 5 and this process 2, and had 2.25 before."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 * GB, 8 * GB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * GB)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: int(2.25 * GB))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)


@pytest.fixture
def lost(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same GPU, of which every call fails."""

    def fail(device: str) -> Any:
        raise ILLEGAL_ADDRESS

    for name in ("mem_get_info", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, fail)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_tile_that_does_not_fit_says_what_it_needs(error: Exception) -> None:
    with pytest.raises(InputError) as raised, opening("cuda:3"):
        raise error
    assert str(raised.value) == (
        "model.device = 'cuda:3': expected memory for one tile of 16x512x512 voxels in mode fast, which needs more "
        "than 3.00 GB (1.00 GB of 8.00 GB were free, and this worker held 2.00 GB); end other programs that use this "
        "GPU, or set a smaller schedule.predict.workers if its workers share it; otherwise use model.mode=exact, whose "
        "tiles are smaller, or model.device=cpu"
    )
    with pytest.raises(InputError) as raised, opening("cuda:3", smaller=False):
        raise error
    assert "exact" not in str(raised.value) and str(raised.value).endswith("otherwise use model.device=cpu")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_block_that_does_not_fit_says_so(error: Exception) -> None:
    with pytest.raises(InputError, match=r"more than 3\.00 GB") as raised, COMPUTING("cuda:0"):
        raise error
    assert raised.value.field == "schedule.predict.block_shape" and raised.value.value == [64, 448, 448]


@pytest.mark.usefixtures("lost")
def test_without_room_for_cuda_itself_there_are_no_figures() -> None:
    with pytest.raises(InputError, match="there was not even room for CUDA itself"), opening("cuda:0"):
        raise NO_MEMORY[1]


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize(
    "error", [ILLEGAL_ADDRESS, RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")], ids=["cuda", "cudnn"]
)
def test_a_gpu_of_which_every_call_fails_is_lost(error: Exception) -> None:
    sentence = str(error).splitlines()[0]
    with pytest.raises(WorkerLostError, match=f"^the GPU cuda:0 was lost .{sentence}.;"), COMPUTING("cuda:0"):
        raise error
    expected = f"^model.device = 'cuda:0': expected a GPU that works .{sentence}.;"
    with pytest.raises(InputError, match=expected), opening("cuda:0"):
        raise error


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("context", [opening, COMPUTING])
def test_an_error_that_comes_once_stays_as_it_is(context: Context) -> None:
    for error in (of_cuda(9, "invalid configuration argument"), RuntimeError("shapes"), ValueError("no tile")):
        with pytest.raises(type(error)) as raised, context("cuda:0"):
            raise error
        assert raised.value is error


@pytest.mark.parametrize("context", [opening, COMPUTING])
def test_errors_of_a_cpu_stay_as_they_are(context: Context) -> None:
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(RuntimeError) as raised, context("cpu"):
        raise error
    assert raised.value is error
