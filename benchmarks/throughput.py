"""Measure voxels per second, peak memory and energy of every encoder and mode, beside a plain 3D affinity U-Net.

    python benchmarks/throughput.py                          # all of them; large ones take minutes on a CPU
    python benchmarks/throughput.py --models tiny nano --modes exact fast
    python benchmarks/throughput.py --device cuda

Weights are random, because nothing depends on them. Every row is a process of its own. It first predicts one tile, so
that kernels are chosen and, if guides are kept, the sections shared with the next tile are known. Then it measures the
next tile along z (on a GPU the next twenty), as inside a large volume. Output voxels of a tile are the product of its
strides. Time is processor time of one thread on a CPU and wall time on a GPU. Energy is read from RAPL or NVML.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fgnet.config import PRESETS, preset
from fgnet.describing import default_geometry, flop_per_output_voxel, shape_only
from fgnet.network import FGNet, channels_last
from fgnet.predictor import NetworkPredictor
from fgnet.weights import MODES, in_mode
from plain_unet import PlainUNet
from torch.utils.flop_counter import FlopCounterMode

RAPL = Path("/sys/class/powercap")
UNET_TILE = (16, 128, 128)
#: Tiles that are measured: one takes seconds on a CPU; on a GPU the counter of energy moves a few times a second.
TILES = {"cpu": 1, "cuda": 20}


def joules() -> float | None:
    """The counter of the processor's packages (RAPL) or of the first GPU (NVML); None where neither is exposed."""
    if torch.cuda.is_available():
        try:
            import pynvml

            pynvml.nvmlInit()
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByIndex(0))) / 1e3
        except Exception:  # no such package, driver or counter: not exposed
            return None
    try:
        counters = [p / "energy_uj" for p in RAPL.glob("*-rapl:?")]
        return sum(float(c.read_text()) for c in counters) / 1e6 if counters else None
    except OSError:
        return None


def clock(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def steps(name: str, mode: str, device: str) -> tuple[Callable[[int], object], float, float]:
    """(what predicts the tile number i along z, output voxels of a tile, MFLOP an output voxel)."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    if name == "unet":
        network = PlainUNet(preset("nano")).eval().to(device, memory_format=torch.channels_last_3d)
        x = torch.from_numpy(rng.normal(size=(1, 1, *UNET_TILE)).astype(np.float32)).to(device)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        with FlopCounterMode(display=False) as counter, torch.device("meta"):
            PlainUNet(preset("nano"))(torch.zeros(1, 1, *UNET_TILE))
        return (
            lambda _: network(x).refined.sigmoid().cpu(),
            float(x.numel()),
            counter.get_total_flops() / x.numel() / 1e6,
        )
    config = dataclasses.replace(preset(name), auxiliary=())
    geometry = in_mode(default_geometry(config), mode)
    predictor = NetworkPredictor(channels_last(FGNet(config)).to(device), geometry, mode, device, 1)
    depth, stride = geometry.tile[0], geometry.stride[0]
    sections = rng.normal(size=(depth + TILES[device] * stride, *geometry.tile[1:])).astype(np.float32)
    flop = flop_per_output_voxel(shape_only(config), geometry, mode)
    voxels = float(np.prod(geometry.stride))
    return lambda i: predictor(sections[None, i * stride : i * stride + depth]), voxels, flop / 1e6


def measure(name: str, mode: str, device: str) -> dict[str, Any]:
    """One row, in this process."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        step, voxels, mflop = steps(name, mode, device)
        step(0)
        energy, begin = joules(), clock(device)
        for tile in range(1, TILES[device] + 1):
            step(tile)
        seconds, after = (clock(device) - begin) / TILES[device], joules()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {"model": name, "mode": mode, "device": device, "mflop_per_output_voxel": mflop, "seconds": seconds}
    row |= {"voxels_per_second": voxels / seconds, "peak_megabytes": memory}
    if device != "cpu":
        row["peak_gpu_megabytes"] = torch.cuda.max_memory_allocated() / 2**20
    told = energy is not None and after is not None and after >= energy
    spent = (after - energy) / voxels / TILES[device] * 1e6 if told else None
    return row | {"microjoules_per_voxel": spent}


def show(row: dict[str, Any]) -> str:
    energy = row["microjoules_per_voxel"]
    told = "not exposed" if energy is None else f"{energy:.1f}"
    return (
        f"| {row['model']} | {row['mode']} | {row['mflop_per_output_voxel']:.2f} | "
        f"{row['voxels_per_second'] / 1e3:.1f} | {row['peak_megabytes']:.0f} | {told} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=(*PRESETS, "unet"), choices=(*PRESETS, "unet"))
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--device", default="cpu", choices=tuple(TILES))
    parser.add_argument("--out", type=Path, help="a JSON line a finished row; what it holds is not measured again")
    parser.add_argument("--one", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.models[0], options.modes[0], options.device)))
        return
    lines = options.out.read_text().splitlines() if options.out and options.out.exists() else []
    known = {(r["model"], r["mode"], r["device"]): r for r in map(json.loads, lines)}
    print("| model | mode | MFLOP/voxel | kvoxel/s | peak MB | microjoule/voxel |\n|---|---|---|---|---|---|")
    for name in options.models:
        for mode in ("exact",) if name == "unet" else options.modes:
            row = known.get((name, mode, options.device))
            if row is None:
                command = [sys.executable, __file__, "--one", "--models", name, "--modes", mode]
                done = subprocess.run([*command, "--device", options.device], check=True, stdout=subprocess.PIPE)
                row = json.loads(done.stdout.splitlines()[-1])
                if options.out:
                    with open(options.out, "a") as file:
                        file.write(json.dumps(row) + "\n")
            print(show(row), flush=True)


if __name__ == "__main__":
    main()
