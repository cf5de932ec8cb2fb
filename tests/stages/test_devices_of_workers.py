"""Stage predict on a GPU that fails, and on a machine without one: a network of the host stands for that of a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pipeline_tools import Command, Refused, cells, records, write_config, write_volume
from tiny_network import GEOMETRY, write_checkpoint

from fgnet_pipeline.core.errors import BlocksFailedError, InputError, WorkerLostError
from fgnet_pipeline.execution.driver import checked
from fgnet_pipeline.execution.run import PREDICT, run
from fgnet_pipeline.stages import predict
from fgnet_pipeline.stages.configuration import load_config

BLOCKS = 2 * 2 * 2
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


class Network:
    """Affinities of 0. Its calls raise the given errors, one after the other; None raises nothing."""

    geometry = GEOMETRY

    def __init__(self, errors: Iterable[Exception | None]) -> None:
        self.errors = iter(errors)

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        if (error := next(self.errors, None)) is not None:
            raise error
        return np.zeros((len(tiles), 3, *GEOMETRY.output), np.float32)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A configuration without an output."""
    folder = tmp_path_factory.mktemp("inputs")
    return {
        "volume": {"path": write_volume(folder / "raw.zarr", cells((32, 32, 32)))},
        "model": {"checkpoint": str(write_checkpoint(folder))},
        "schedule": {"workers": 0, "block_shape": [16, 16, 16], "retries": 0},
    }


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that torch sees, of 8 GB of which 1 is free; it is lost if it is asked to synchronize."""

    def fail(_: object) -> None:
        raise LOST

    monkeypatch.setattr(predict, "choose_device", lambda *_: "cuda:0")
    monkeypatch.setattr(predict, "computes_on_device", lambda *_: False)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    for name, value in (("mem_get_info", (10**9, 8 * 10**9)), ("memory_allocated", 0), ("max_memory_allocated", 0)):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)


def run_with(
    errors: Iterable[Exception | None], config: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run stage predict with a network whose calls raise `errors`."""
    network = Network(errors)
    monkeypatch.setattr(predict, "_load", lambda *_, **__: network)
    run(load_config({**config, "output": {"path": str(out)}}), PREDICT)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_without_memory_for_one_tile_is_refused(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        InputError, match=r"^model\.device = 'cuda:0': expected memory for one tile of 32x32x32 voxels "
    ):
        run_with([NO_MEMORY], config, tmp_path / "out", monkeypatch)
    assert records(tmp_path / "out", "predict") == []


@pytest.mark.usefixtures("gpu")
def test_a_block_without_memory_fails_with_a_sentence(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BlocksFailedError) as failed:
        run_with([None, NO_MEMORY], config, tmp_path / "out", monkeypatch)
    assert "\n    schedule.predict.block_shape = [16, 16, 16]: expected blocks that fit" in str(failed.value)
    assert "Traceback" not in str(failed.value) and len(records(tmp_path / "out", "predict")) == BLOCKS - 1


@pytest.mark.usefixtures("gpu")
def test_a_lost_gpu_ends_a_serial_run_and_keeps_what_is_finished(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 1 + 8 * 3  # the first tile, and a block of 8 tiles at most
    with pytest.raises(WorkerLostError, match=r"^the GPU cuda:0 was lost .CUDA error: an illegal memory access "):
        run_with([None] * calls + [LOST], config, tmp_path / "out", monkeypatch)
    assert 0 < len(records(tmp_path / "out", "predict")) < BLOCKS
    run_with([], config, tmp_path / "out", monkeypatch)
    assert len(records(tmp_path / "out", "predict")) == BLOCKS


def test_without_cuda_a_run_is_refused_and_a_login_node_plans_and_submits(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused, command: Command
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    tables = {**config, "model": {**config["model"], "device": "cuda"}, "output": {"path": str(tmp_path / "out")}}
    path = write_config(tmp_path / "config.toml", **tables)
    for workers in (0, 2):
        sentence = refused("run", path, "--workers", workers)
        assert "model.device = 'cuda': expected a CUDA device that torch can see" in sentence
    assert not (tmp_path / "out").exists()
    code, _, error = command("plan", path)
    assert code == 0, error
    on_cluster = load_config(path, ["schedule.backend=array", "schedule.workers=2"])
    assert checked(on_cluster, PREDICT, None)[1] == ["predict"], "the checks of fgnet submit"
