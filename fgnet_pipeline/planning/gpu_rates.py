"""Hours of GPUs for the affinities, by rates that were measured on models of GPU.

A login node has no GPU, so a trial block there does not say how long the affinities take. `gpu_rates.toml` holds the
rates, each with the command that measured it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.errors import InputError

RATES = Path(__file__).with_name("gpu_rates.toml")
_REMEDY = "leave --gpu out and measure a block on a node with that GPU: fgnet plan --trial"
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class GpuRate:
    """How fast a network is on a model of GPU.

    Attributes:
        gpu: model of GPU.
        architecture: preset of the network.
        mode: of the network, as in `model.mode`.
        voxels_per_second: of output.
        microjoule_per_voxel: of output; None if it was not measured.
        measured: commit, version of torch and command, in words.
    """

    gpu: str
    architecture: str
    mode: str
    voxels_per_second: float
    microjoule_per_voxel: float | None
    measured: str

    def seconds(self, tiles: dict[str, Any]) -> float:
        """Seconds of one GPU for all tiles that the blocks of a task compute; `tiles` as `Stage.tiles` returns it."""
        return float(tiles["computed"] * prod(tiles["stride"]) / self.voxels_per_second)


@dataclass(frozen=True)
class GpuEstimate:
    """What the affinities that are left take on GPUs.

    Attributes:
        gpu: model of GPU; so are `architecture`, `mode`, `voxels_per_second` and `measured` those of a `GpuRate`.
        gpu_hours: of one GPU.
        workers: of the predict stage, one per GPU.
        hours: `gpu_hours` divided by `workers`.
        kwh: energy of the GPUs; None if it was not measured.
        cost: `gpu_hours` times the price of an hour; None without a price.
    """

    gpu: str
    architecture: str
    mode: str
    voxels_per_second: float
    measured: str
    gpu_hours: float
    workers: int
    hours: float
    kwh: float | None
    cost: float | None


def gpu_rate(gpu: str, architecture: str, mode: str) -> GpuRate:
    """The rate of a network on a model of GPU.

    Args:
        gpu: words of which one is the model, e.g. `H200` or `NVIDIA H200`; upper and lower case are the same.
        architecture: preset of the network.
        mode: of the network.

    Raises:
        InputError: this model of GPU, or this network on it, was not measured.
    """
    rows = tomllib.loads(RATES.read_text())["rate"]
    words = re.split(r"[^a-z0-9]+", gpu.lower())
    row = next((row for row in rows if row["gpu"].lower() in words), None)
    if row is None:
        raise InputError("--gpu", gpu, f"a model with measured rates: {_listed(r['gpu'] for r in rows)}", _REMEDY)
    rates = row["mvoxel_per_second"]
    if mode not in rates.get(architecture, {}):
        measured = _listed(f"{name} ({_listed(modes)})" for name, modes in rates.items())
        expected = f"a model on which {architecture} in mode {mode} was measured ({row['gpu']}: {measured})"
        raise InputError("--gpu", gpu, expected, _REMEDY)
    return GpuRate(
        gpu=row["gpu"],
        architecture=architecture,
        mode=mode,
        voxels_per_second=rates[architecture][mode] * 1e6,
        microjoule_per_voxel=row["microjoule_per_voxel"].get(architecture, {}).get(mode),
        measured=f"at commit {row['commit']} with torch {row['torch']} by `{row['command']}`",
    )


def estimate_gpus(rate: GpuRate, seconds: float, workers: int, price: float | None) -> GpuEstimate:
    """What some seconds of one GPU are in hours, energy and cost.

    Args:
        rate: of the network.
        seconds: of one GPU.
        workers: GPUs that work side by side; 0 counts as 1.
        price: of an hour of one GPU, in any currency, if it is known.
    """
    gpu_hours, gpus = seconds / 3600, max(1, workers)
    joules = None if rate.microjoule_per_voxel is None else rate.microjoule_per_voxel * 1e-6 * rate.voxels_per_second
    return GpuEstimate(
        gpu=rate.gpu,
        architecture=rate.architecture,
        mode=rate.mode,
        voxels_per_second=rate.voxels_per_second,
        measured=rate.measured,
        gpu_hours=gpu_hours,
        workers=gpus,
        hours=gpu_hours / gpus,
        kwh=None if joules is None else joules * seconds / JOULES_PER_KWH,
        cost=None if price is None else gpu_hours * price,
    )


def _listed(names: Any) -> str:
    return ", ".join(names)
