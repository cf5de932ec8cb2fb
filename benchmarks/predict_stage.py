"""Measure the whole predict stage as a user runs it, beside the bare kernels of its network.

    python benchmarks/predict_stage.py --data SAMPLE --out OUT --mode fast --device cuda          # on one GPU
    python benchmarks/predict_stage.py --data SAMPLE --out OUT --mvoxel 12 --block 144            # on a CPU

The volume is `SAMPLE/fib25_teacher.zarr/raw`, mirrored until it has the voxels wanted in whole blocks, stored in OUT.
`fgnet predict` runs twice: on one block, so that the second run finds the caches of a run before it, then on the whole
volume. "First block begun" counts from the start of the command. The rate of the stage counts from there to the end of
the last block, and that of the command all of its time. Meanwhile the first GPU is sampled by NVML (`gpu_samples.py`);
"idle" is the worst window of 20 s after the first block begun.

The bare kernels are calls of `NetworkPredictor.on_device` for a column of tiles that already are on the device, with
new sections per tile as inside a large volume. The script waits for the device only before the first and after the last
of them. The same tiles then go through the predictor as NumPy arrays, in turns; medians of the turns count. "Stage over
bare kernels" is the time of the stage over what the bare kernels take for all tiles that it computed; on a CPU the time
of the stage is multiplied by the number of workers. All times are wall times. Each finished part is a JSON line, and is
not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from gpu_samples import GpuSamples, idle_in_worst_window, joules_between

from fgnet_pipeline.core.geometry import Grid, Vector, vector, whole
from fgnet_pipeline.kernels.tiling import Tiling, reflect
from fgnet_pipeline.store.layout import state_of
from fgnet_pipeline.store.records.progress import Progress

HERE = Path(__file__).resolve().parents[1]
ROUNDS = 3
#: Measured tiles per round: one takes seconds on a CPU and milliseconds on a GPU.
TILES = {"cpu": 2, "cuda": 100}
CHUNK = 64
Volume = np.ndarray[Any, Any]


def volume_shape(voxels: float, block: int) -> Vector:
    """The smallest shape of whole blocks that holds `voxels` and is at most twice as long as wide."""
    blocks = max(1, math.ceil(voxels / block**3))
    sides = itertools.combinations_with_replacement(range(1, 2 * math.ceil(blocks ** (1 / 3)) + 1), 3)
    fitting = [s for s in sides if math.prod(s) >= blocks and s[-1] <= 2 * s[0]]
    return vector(np.multiply(min(fitting, key=lambda s: (math.prod(s), s[-1])), block))


def stored_volume(options: argparse.Namespace, shape: Vector) -> Path:
    """The path of the mirrored volume, which is made unless it is there."""
    path = options.out / f"raw_{'x'.join(map(str, shape))}_{options.block}.zarr"
    if path.exists():
        return path
    source: Any = zarr.open_array(options.data / "fib25_teacher.zarr" / "raw", mode="r")
    sample, part = np.asarray(source[:]), path.with_suffix(".part")
    chunk = min((n for n in range(1, options.block + 1) if options.block % n == 0), key=lambda n: abs(n - CHUNK))
    array: Any = zarr.create_array(
        part, shape=shape, dtype="uint8", shards=(options.block,) * 3, chunks=(chunk,) * 3, overwrite=True
    )
    array.attrs.update({name: source.attrs[name] for name in ("voxel_size", "offset", "axis_names", "units")})
    for block in np.ndindex(*(n // options.block for n in shape)):
        begin = np.multiply(block, options.block)
        places = [reflect(np.arange(b, b + options.block), n) for b, n in zip(begin, sample.shape, strict=True)]
        array[tuple(slice(b, b + options.block) for b in begin)] = sample[np.ix_(*places)]
    part.rename(path)  # only once it is whole
    return path


def command_for(options: argparse.Namespace, raw: Path, output: Path) -> list[str]:
    """The command that a user would type."""
    block = f"[{options.block},{options.block},{options.block}]"
    settings = [f"volume.path={raw}", f"output.path={output}", f"model.checkpoint={options.model}"]
    settings += [f"model.mode={options.mode}", f"model.device={options.device}", f"schedule.block_shape={block}"]
    settings += options.set
    words = [sys.executable, "-m", "fgnet_pipeline", "predict", str(options.config), "--yes"]
    return [*words, "--workers", str(options.workers), *(w for setting in settings for w in ("--set", setting))]


def stage(options: argparse.Namespace, raw: Path, *more: str) -> dict[str, Any]:
    """Run the command with a new output, which is removed afterwards, and read its records."""
    with tempfile.TemporaryDirectory(dir=options.out, prefix="stage-") as folder, GpuSamples() as gpu:
        output = Path(folder).resolve() / "out.zarr"
        begin = time.time()
        subprocess.run([*command_for(options, raw, output), *more], check=True, stdout=sys.stderr)
        end = time.time()
        records = list(Progress(state_of(output) / "progress").records("predict"))
    first = min(record["finished"] - record["seconds"] for record in records)
    last, voxels = max(record["finished"] for record in records), sum(record["voxels"] for record in records)
    row = {"blocks": len(records), "voxels": voxels, "first_block_begun": first - begin, "stage_seconds": last - first}
    joules = joules_between(gpu.samples, first, last)
    row |= {"command_seconds": end - begin, "joules": joules, "samples": len(gpu.samples)}
    return row | {"worst_window": idle_in_worst_window(gpu.samples, first, last)}


def warm_up(options: argparse.Namespace, raw: Path) -> dict[str, Any]:
    """The command on the first block alone."""
    attributes: dict[str, Any] = dict(zarr.open_array(raw, mode="r").attrs)
    corner = attributes["offset"]
    end = np.add(corner, np.multiply(options.block, attributes["voxel_size"])).tolist()
    return stage(options, raw, "--set", f"volume.roi={json.dumps([corner, end])}")


def column(raw: Path, tile: Vector, sections: int) -> Volume:
    """Raw sections, all different, of a column of tiles in the middle of the volume; mirrored as often as needed."""
    array: Any = zarr.open_array(raw, mode="r")
    z = np.arange(sections)
    y, x = (reflect(np.arange(t) + (n - t) // 2, n) for t, n in zip(tile[1:], array.shape[1:], strict=True))
    stored = np.asarray(array[: min(sections, array.shape[0]), y.min() : y.max() + 1, x.min() : x.max() + 1])
    found = stored[np.ix_(reflect(z, array.shape[0]), y - y.min(), x - x.min())]
    turns = np.maximum(z - 1, 0) // (array.shape[0] - 1)  # how often the sections were mirrored before
    for number in range(1, turns[-1] + 1):  # or the network would know the mirrored ones
        found[turns == number] = np.roll(found[turns == number], number, axis=-1)
    return found


def timed(step: Callable[[int], object], first: int, count: int, synchronise: Callable[[], None]) -> float:
    """Seconds per tile of `count` tiles after the first one, which gives the guides of the sections they share."""
    step(first)
    synchronise()
    begin = time.perf_counter()
    for tile in range(first + 1, first + 1 + count):
        step(tile)
    synchronise()
    return (time.perf_counter() - begin) / count


def kernels(options: argparse.Namespace, raw: Path) -> dict[str, Any]:
    """Bare kernels and the predictor with NumPy arrays, in turns, in this process."""
    import fgnet
    import torch
    from fgnet import normalise
    from fgnet.predictor import NetworkPredictor

    from fgnet_pipeline.stages.tile_network import IMPLEMENTATION, arithmetic_of

    arithmetic = arithmetic_of(IMPLEMENTATION)
    predictor = fgnet.load_predictor(options.model, options.mode, options.device, threads=1, **arithmetic)
    assert isinstance(predictor, NetworkPredictor), "a model with weights"
    geometry, count = predictor.geometry, options.tiles or TILES[options.device]
    depth, stride = geometry.tile[0], geometry.stride[0]
    voxels = column(raw, geometry.tile, ROUNDS * (count + 1) * stride + depth)
    host = normalise.apply(voxels, *normalise.constants(voxels[::7].ravel(), geometry.normalisation))
    device = torch.from_numpy(host).to(predictor.device)
    synchronise = torch.cuda.synchronize if options.device == "cuda" else lambda: None

    def bare(i: int) -> object:
        begin = i * stride
        return predictor.on_device(device[begin : begin + depth], range(begin, begin + depth))

    def through(i: int) -> object:
        return predictor(host[None, i * stride : i * stride + depth])

    found: dict[str, list[float]] = {"bare": [], "predictor": []}
    for first in range(0, ROUNDS * (count + 1), count + 1):
        found["bare"].append(timed(bare, first, count, synchronise))
        found["predictor"].append(timed(through, first, count, synchronise))
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    return {"seconds_per_tile": found, "tiles": count, "card": card, "torch": torch.__version__}


def tiles_of(options: argparse.Namespace, shape: Vector) -> tuple[int, int]:
    """(tiles that the stage computes, voxels that a tile adds to the volume)."""
    import fgnet

    geometry = fgnet.read_geometry(options.model, options.mode)
    tiling, volume = Tiling(geometry.tile, geometry.stride, geometry.margin), whole(shape)
    return tiling.counts(Grid(vector([options.block] * 3)), volume, volume)[0], math.prod(geometry.stride)


def lines(options: argparse.Namespace, shape: Vector, parts: dict[str, dict[str, Any]]) -> list[str]:
    """The rows of the table."""
    run, (tiles, per_tile) = parts["stage"], tiles_of(options, shape)
    bare, predictor = (statistics.median(parts["kernels"]["seconds_per_tile"][k]) for k in ("bare", "predictor"))
    workers = 1 if options.device == "cuda" else max(1, options.workers)
    worst, joules, voxels = run["worst_window"], run["joules"], run["voxels"]
    hidden = "not exposed"
    idle = f"{worst['idle']:.1%}; {worst['at_zero']:.1%} of the samples at 0" if worst else hidden
    figures = {
        "bare kernels, Mvoxel/s": f"{per_tile / bare / 1e6:.3f}",
        "predictor with NumPy arrays, Mvoxel/s": f"{per_tile / predictor / 1e6:.3f}",
        "predictor over bare kernels": f"{predictor / bare:.2f}",
        "stage from the first block begun to the last one finished, Mvoxel/s": (
            f"{voxels / run['stage_seconds'] / 1e6:.3f}"
        ),
        "whole command, Mvoxel/s": f"{voxels / run['command_seconds'] / 1e6:.3f}",
        f"stage over bare kernels ({tiles} tiles)": f"{run['stage_seconds'] * workers / (tiles * bare):.2f}",
        "first block begun, s": f"{run['first_block_begun']:.1f}",
        "first block begun in the run before, s": f"{parts['warm-up']['first_block_begun']:.1f}",
        "card idle in the worst 20 s": idle,
        "energy of the stage, microjoule/voxel": hidden if joules is None else f"{joules / voxels * 1e6:.1f}",
    }
    return [f"| {name} | {figure} |" for name, figure in figures.items()]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds fib25_teacher.zarr")
    parser.add_argument("--out", type=Path, required=True, help="folder for the volume and, for a time, the outputs")
    parser.add_argument("--config", type=Path, default=HERE / "configs" / "fib25_nano.toml")
    parser.add_argument("--model", default="nano-fib25", help="name or path of a checkpoint with weights")
    parser.add_argument("--mode", default="exact", choices=("reference", "exact", "fast"))
    parser.add_argument("--mvoxel", type=float, default=820, help="least size of the volume, million voxels")
    parser.add_argument("--device", default="cpu", choices=tuple(TILES))
    parser.add_argument("--block", type=int, default=216, help="voxels along each axis of a block")
    parser.add_argument("--tiles", type=int, help=f"of the kernels per round; default: {TILES}")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="section.key=value, as for `fgnet predict`")
    parser.add_argument("--json", type=Path, help="file for the lines; default: OUT/predict_stage.jsonl")
    parser.add_argument("--kernels", type=Path, help="measure the kernels in this process, on this volume")
    return parser.parse_args()


def kernels_in_a_process(options: argparse.Namespace, raw: Path) -> dict[str, Any]:
    """What `--kernels` prints."""
    command = [sys.executable, __file__, *sys.argv[1:], "--kernels", str(raw)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    options = arguments()
    if options.kernels:
        print(json.dumps(kernels(options, options.kernels)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    file, shape = options.json or options.out / "predict_stage.jsonl", volume_shape(options.mvoxel * 1e6, options.block)
    raw = stored_volume(options, shape).resolve()
    settings = {name: getattr(options, name) for name in ("model", "mode", "device", "block", "workers", "set")}
    settings |= {"shape": list(shape)}
    known = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    parts = {row["part"]: row for row in known if row["settings"] == settings}
    for part, measure in {"warm-up": warm_up, "stage": stage, "kernels": kernels_in_a_process}.items():
        if part not in parts:
            parts[part] = {"part": part, "settings": settings} | measure(options, raw)
            with file.open("a") as stream:
                stream.write(json.dumps(parts[part]) + "\n")
    size, kernel = "x".join(map(str, shape)), parts["kernels"]
    title = [Path(options.model).stem, options.mode, size, f"{options.workers} workers", kernel["card"]]
    print(f"| {', '.join(title)}, torch {kernel['torch']} | |\n|---|---|")
    print("\n".join(lines(options, shape, parts)))


if __name__ == "__main__":
    main()
