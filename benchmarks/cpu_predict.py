"""Compare the speed of prediction on one CPU thread with another checkout, and the affinities of both.

    git worktree add --detach ../before 491da2c
    python benchmarks/cpu_predict.py --before ../before --raw ../shared/data/fib25.zarr/raw

Every measurement is a process of its own that predicts one crop, first of the real volume, then of a phantom. Beyond
the faces of the crop the raw values are mirrored, and nothing is stored. The two checkouts take turns, so that another
load of the machine affects both. Time is the processor time of the process while it predicts, without start-up and
without the first tile. Affinities are compared as they would be stored, in steps of 1/255.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[1]


def seconds() -> float:
    """Processor time of this process, in user mode and in the system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def newest_arithmetic() -> dict[str, Any]:
    """The arguments of `load_predictor` by which stage predict computes, in this checkout."""
    try:
        from fgnet_pipeline.stages.tile_network import IMPLEMENTATION, arithmetic_of
    except ImportError:  # before implementation 4
        return {}
    return arithmetic_of(IMPLEMENTATION)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Predict the crop by the checkout that PYTHONPATH names; the affinities go to `options.one`."""
    import fgnet
    from fgnet import normalise

    from fgnet_pipeline.core.geometry import vector, whole
    from fgnet_pipeline.kernels.tiling import Tiling, to_uint8

    raw = np.load(options.raw)
    predictor = fgnet.load_predictor(options.checkpoint, options.mode, threads=1, **newest_arithmetic())
    geometry = predictor.geometry
    tiling, volume = Tiling(geometry.tile, geometry.stride, geometry.margin), whole(vector(raw.shape))
    normalised = normalise.apply(raw, *normalise.constants(raw.ravel(), geometry.normalisation))
    predictor(np.zeros((1, *geometry.tile), np.float32))
    begin = seconds()
    affinities = tiling.predict(normalised, (0, 0, 0), volume, volume, predictor, len(geometry.neighbourhood))
    spent = seconds() - begin
    np.save(options.one, to_uint8(affinities))
    return {"seconds": spent, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def in_a_process(checkout: Path, raw: Path, result: Path, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--one", str(result), "--raw", str(raw)]
    command += ["--checkpoint", options.checkpoint, "--mode", options.mode]
    path = os.pathsep.join(map(str, (checkout, checkout / "model")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str, raw: np.ndarray[Any, Any], folder: Path, options: argparse.Namespace) -> None:
    """Measure both checkouts in turns on one crop, and print a line each and the comparison."""
    np.save(folder / "raw.npy", raw)
    checkouts = {"before": options.before.resolve(), "now": HERE}
    found: dict[str, list[dict[str, float]]] = {label: [] for label in checkouts}
    for number in range(options.rounds):
        for label, checkout in checkouts.items():
            found[label].append(in_a_process(checkout, folder / "raw.npy", folder / f"{label}.npy", options))
            print(f"{name}, round {number}, {label}: {found[label][-1]}", file=sys.stderr, flush=True)
    for label, rows in found.items():
        spent = [row["seconds"] for row in rows]
        rate = raw.size / np.median(spent) / 1e3
        print(f"| {name} | {label} | {' '.join(f'{s:.2f}' for s in spent)} | {rate:.0f} | {rows[0]['megabytes']:.0f} |")
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(found["before"], found["now"], strict=True)]
    best = min(r["seconds"] for r in found["before"]) / min(r["seconds"] for r in found["now"])
    before, now = (np.load(folder / f"{label}.npy").astype(int) for label in checkouts)
    distance = np.abs(before - now)
    print(f"{name}: {np.median(ratios):.2f} times as fast (median of turns), {best:.2f} times from the fastest of each")
    print(
        f"{name}: at most {distance.max()}/255 apart, {(distance > 0).mean():.2%} of all affinities differ", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="the other checkout")
    parser.add_argument("--raw", required=True)
    parser.add_argument("--begin", type=int, nargs=3, default=(18, 50, 50))
    parser.add_argument("--shape", type=int, nargs=3, default=(216, 72, 72))
    parser.add_argument("--checkpoint", default="nano-fib25")
    parser.add_argument("--mode", default="exact")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=Path, help="measure in this process, affinities to this file")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options)))
        return
    import zarr

    from fgnet_pipeline.datasets.phantom import Phantom, generate

    array: Any = zarr.open_array(options.raw, mode="r")
    crop = np.asarray(array[tuple(slice(b, b + n) for b, n in zip(options.begin, options.shape, strict=True))])
    print("| input | checkout | CPU seconds of each turn | kvoxel/s | peak MB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        compare("real", crop, Path(folder), options)
        compare("phantom", generate(Phantom(shape=tuple(options.shape)))[0], Path(folder), options)


if __name__ == "__main__":
    main()
