"""Compare the modes of inference: processor time, peak memory, and the ratio of the counted operations.

    python benchmarks/inference_modes.py --raw ../shared/data/fib25.zarr/raw

Every measurement is a process of its own that predicts one crop in one mode; beyond the faces of the crop the raw
values are mirrored, and nothing is stored. The modes take turns (reference, exact, fast, reference, ...), so that
another load of the machine affects all of them. Time is the processor time of the process while it predicts, without
start-up; memory is its peak resident size. The ratios are `reference` over the mode.
A crop whose edges are multiples of both strides (48 and 72 for nano: 144) holds as many tiles of either mode as a large
volume would, so that the ratio of the operations is that of `fgnet.describe`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import zarr
from fgnet import normalise
from fgnet.weights import MODES

from fgnet_pipeline.core.geometry import vector, whole
from fgnet_pipeline.kernels.tiling import Tiling


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One mode in this process: seconds of processor time, peak memory in MB, tiles."""
    array: Any = zarr.open_array(options.raw, mode="r")
    box = tuple(slice(b, b + n) for b, n in zip(options.begin, options.shape, strict=True))
    raw = np.asarray(array[box])
    predictor = fgnet.load_predictor(options.checkpoint, options.mode, threads=1)
    geometry = predictor.geometry
    tiling = Tiling(geometry.tile, geometry.stride, geometry.margin)
    volume = whole(vector(raw.shape))
    normalised = normalise.apply(raw, *normalise.constants(raw.ravel(), geometry.normalisation))
    predictor(np.zeros((1, *geometry.tile), np.float32))  # what happens once: kernels are chosen, buffers made
    begin = time.process_time()
    affinities = tiling.predict(normalised, (0, 0, 0), volume, volume, predictor, len(geometry.neighbourhood))
    seconds = time.process_time() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tiles = len(list(tiling.tiles(volume, volume)))
    return {"seconds": seconds, "megabytes": memory, "tiles": tiles, "mean": float(affinities.mean())}


def in_a_process(options: argparse.Namespace, mode: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--raw", options.raw, "--checkpoint", options.checkpoint, "--mode", mode]
    command += ["--begin", *map(str, options.begin), "--shape", *map(str, options.shape)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(options: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row a mode, from the medians."""
    counted = fgnet.describe(options.checkpoint)["modes"]
    voxels = float(np.prod(options.shape))
    rows = []
    for mode, rounds in found.items():
        seconds = [r["seconds"] for r in rounds]
        flop = counted[mode]["flop_per_output_voxel"]
        rows.append(
            {
                "mode": mode,
                "tiles": rounds[0]["tiles"],
                "cpu_seconds": seconds,
                "median_cpu_seconds": float(np.median(seconds)),
                "voxels_per_cpu_second": voxels / float(np.median(seconds)),
                "peak_megabytes": float(np.median([r["megabytes"] for r in rounds])),
                "mflop_per_output_voxel": flop / 1e6,
                "counted_ratio": counted["reference"]["flop_per_output_voxel"] / flop,
            }
        )
    for row in rows:
        row["measured_ratio"] = rows[0]["median_cpu_seconds"] / row["median_cpu_seconds"]
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", required=True)
    parser.add_argument("--checkpoint", default="nano-fib25")
    parser.add_argument("--begin", type=int, nargs=3, default=(18, 50, 50))
    parser.add_argument("--shape", type=int, nargs=3, default=(144, 144, 144))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", choices=MODES, help="measure this one alone, in this process")
    parser.add_argument("--json", type=Path, help="file for the rows")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.mode is not None:
        print(json.dumps(measure(options)))
        return
    found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for number in range(options.rounds):
        for mode in MODES:
            found[mode].append(in_a_process(options, mode))
            print(f"round {number} {mode}: {found[mode][-1]}", file=sys.stderr, flush=True)
    rows = report(options, found)
    for r in rows:
        print(
            f"{r['mode']:9s}  {r['tiles']:4d} tiles  {r['median_cpu_seconds']:7.1f} s CPU  "
            f"{r['voxels_per_cpu_second'] / 1e3:7.1f} kvoxel/s  {r['measured_ratio']:5.2f} x "
            f"(counted {r['counted_ratio']:.2f} x, reached {r['measured_ratio'] / r['counted_ratio']:.0%})  "
            f"peak {r['peak_megabytes']:.0f} MB"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
