"""What this machine has: cores, memory and GPUs. Torch is not imported."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fgnet_pipeline.planning.memory import machine_memory

#: Seconds after which `nvidia-smi` is not waited for any more.
PATIENCE = 20


@dataclass(frozen=True)
class Machine:
    """A machine.

    Attributes:
        cores: that this process may use.
        memory: bytes.
        gpus: name of each GPU that this process may use.
        torch_sees_gpus: whether the installed build of PyTorch can use GPUs.
    """

    cores: int
    memory: int
    gpus: tuple[str, ...]
    torch_sees_gpus: bool

    @property
    def usable_gpus(self) -> int:
        """Number of GPUs that a run can use."""
        return len(self.gpus) if self.torch_sees_gpus else 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def this_machine() -> Machine:
    """The machine that this process runs on, as far as this process may use it."""
    return Machine(_cores(), machine_memory(), _gpus(), _is_gpu_build())


def _cores() -> int:
    """Cores of the processor that the process may use, by its affinity and by its control group."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no such group, or "max"
        return allowed


def _gpus() -> tuple[str, ...]:
    """Names of GPUs as `nvidia-smi` lists them, restricted by CUDA_VISIBLE_DEVICES; none without `nvidia-smi`."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        listed = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=PATIENCE, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()
    names = tuple(line.strip() for line in listed.splitlines() if line.strip())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return names
    # An entry that is no device ends the list for CUDA, e.g. -1.
    wanted = [part.strip() for part in visible.split(",")]
    count = next((i for i, part in enumerate(wanted) if not part or part.startswith("-")), len(wanted))
    return names[:count]


def _is_gpu_build() -> bool:
    try:
        return "+cpu" not in metadata.version("torch")
    except metadata.PackageNotFoundError:
        return False
