"""What the process that workers are forked from loads for stage predict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_tools import write_config

from fgnet_pipeline.core.config_file import load_config
from fgnet_pipeline.execution.processes.fork_server import KERNELS as RUN_KERNELS
from fgnet_pipeline.execution.processes.loaded_modules import modules_of
from fgnet_pipeline.stages.configuration import choices
from fgnet_pipeline.stages.predict import STAGE
from fgnet_pipeline.stages.registry import stages

KERNELS = "fgnet_pipeline.execution.processes.preload_predict"


@pytest.mark.parametrize(
    "checkpoint, device, kernels",
    [("nano-fib25", "auto", True), ("nano-fib25", "cuda", False), ("identity", "cpu", False)],
)
def test_kernels_are_loaded_for_a_network_that_may_run_on_a_cpu(
    tmp_path: Path, checkpoint: str, device: str, kernels: bool
) -> None:
    path = write_config(
        tmp_path / "c.toml",
        volume={"path": "raw.zarr"},
        output={"path": "out"},
        model={"checkpoint": checkpoint, "device": device},
    )
    assert (KERNELS in STAGE.preload(load_config(path, None, choices()))) == kernels


def test_a_run_that_only_predicts_loads_no_kernels_of_later_stages(tmp_path: Path) -> None:
    path = write_config(
        tmp_path / "c.toml", volume={"path": "raw.zarr"}, output={"path": "out"}, model={"device": "cuda"}
    )
    config = load_config(path, None, choices())
    assert modules_of([STAGE], config) == ["torch", "fgnet.predictor"]
    assert modules_of(list(stages().values()), config) == [RUN_KERNELS, "torch", "fgnet.predictor"]


def test_no_kernel_is_left_to_the_first_block() -> None:
    code = f"""
import {KERNELS}
from fgnet_pipeline.kernels import cpu_filtering, cpu_steps
from fgnet_pipeline.kernels.compiled import Kernel
every = [k for m in (cpu_filtering, cpu_steps) for k in vars(m).values() if isinstance(k, Kernel)]
assert len(every) >= 10
assert all(k.compiled.signatures for k in every if not k.__name__.startswith("_"))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
