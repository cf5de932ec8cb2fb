"""Blocks and workers that fit a volume, a model and a machine; GPUs that may be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgnet_pipeline.core.geometry import MAX_BLOCKS_PER_AXIS
from fgnet_pipeline.planning import block_choice
from fgnet_pipeline.planning.block_choice import choose_blocks, memory_of
from fgnet_pipeline.planning.machine import Machine, this_machine

GIB = 1 << 30


def machine(cores: int, gibibytes: int) -> Machine:
    return Machine(cores, gibibytes * GIB, (), False)


def test_blocks_fit_volume_model_and_machine() -> None:
    large = (4000, 8000, 8000)
    found = choose_blocks(large, (64, 64, 64), (72, 72, 72), machine(16, 256))
    assert (found.workers, found.block, found.is_aligned, found.by_memory) == (16, (288, 288, 288), False, False)
    assert found.blocks == 14 * 28 * 28
    found = choose_blocks(large, (32, 96, 48), (72, 72, 72), machine(16, 256))
    assert found.block == (288, 288, 288) and found.is_aligned
    little = choose_blocks(large, (64, 64, 64), (72, 72, 72), machine(64, 16))
    assert little.by_memory and little.block == (72, 72, 72) and little.workers < 64
    assert little.workers * memory_of(little.block) <= 16 * GIB * block_choice.MEMORY_SHARE
    flat = choose_blocks((30, 4000, 4000), (1, 512, 512), (72, 72, 72), machine(4, 64))
    assert flat.block == (72, 288, 288)
    few = choose_blocks((72, 72, 100), (64, 64, 64), (72, 72, 72), machine(16, 64))
    assert (few.workers, few.blocks, few.by_memory) == (2, 2, False)
    chunks = choose_blocks(large, (50, 100, 128), None, machine(4, 64))
    assert chunks.is_aligned and np.mod(chunks.block, (50, 100, 128)).tolist() == [0, 0, 0]
    endless = choose_blocks((10**7, 100, 100), (64, 64, 64), (72, 72, 72), machine(4, 64))
    assert 10**7 / endless.block[0] <= MAX_BLOCKS_PER_AXIS


def test_gpus_that_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100'\necho 'NVIDIA H100'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert this_machine().gpus == ("NVIDIA H100", "NVIDIA H100")
    for visible, count in (("", 0), ("1", 1), ("0,1", 2), ("-1", 0)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert len(this_machine().gpus) == count, visible
    program.write_text("#!/bin/sh\nexit 9\n")
    assert this_machine().gpus == ()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert this_machine().gpus == () and this_machine().cores >= 1
