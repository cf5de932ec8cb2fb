"""Measure an OME-Zarr pyramid of a segmentation beside igneous, which writes the same levels as precomputed volume.

    python benchmarks/export_pyramid.py --labels SAMPLE/labels --shape 512,512,512 --igneous igneous/bin/igneous OUT

The result is one of the lab's own fragments: the labels, mirrored and tiled to `--shape`, with ids of their own in each
tile. Ours is `fgnet export ome-zarr`, which also copies level 0. igneous (`pip install igneous-pipeline` into an
environment of its own; GPL-3) begins with a precomputed copy of level 0, whose making is not counted. Both are one
command with the same number of workers, timed from start to end; `--repeats` takes turns, and the least time counts.
Peak memory is the largest of our workers, from their records. Voxels of the deepest level are compared: ties are broken
in different ways, so the share of equal voxels is below 1.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts
import zarr

ATTRIBUTES = {"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
BLOCK = 128


def tiled(labels: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """Labels mirrored to `shape`; every tile has ids of its own."""
    at = np.meshgrid(*(np.arange(n) // m for n, m in zip(shape, labels.shape, strict=True)), indexing="ij", sparse=True)
    padding = [(0, max(0, n - m)) for n, m in zip(shape, labels.shape, strict=True)]
    whole = np.pad(labels, padding, mode="symmetric")[tuple(map(slice, shape))].astype(np.uint64)
    tile = ((at[0] * 64 + at[1]) * 64 + at[2]).astype(np.uint64)
    whole += (whole != 0) * tile * np.uint64(int(labels.max()) + 1)
    return whole


def store(path: Path, data: npt.NDArray[Any], channels: int = 0) -> str:
    """Write an array with our attributes."""
    chunks = (channels,) * bool(channels) + (64, 64, 64)
    axes = {"axis_names": ["c^", "z", "y", "x"]} if channels else {}
    array = zarr.create_array(
        str(path), shape=data.shape, dtype=data.dtype, chunks=chunks, attributes=ATTRIBUTES | axes
    )
    array[...] = data
    return str(path)


def make_result(folder: Path, fragments: npt.NDArray[np.uint64]) -> Path:
    """A finished run over the lab's own fragments and affinities; its configuration."""
    affinities = np.zeros((3, *fragments.shape), np.uint8)
    for axis in range(3):
        here, before = ([slice(None)] * 3 for _ in range(2))
        here[axis], before[axis] = slice(1, None), slice(None, -1)
        same = (fragments[tuple(here)] == fragments[tuple(before)]) * np.uint8(255)
        affinities[(axis, *here)] = same
    paths = store(folder / "affinities.zarr", affinities, 3), store(folder / "fragments.zarr", fragments)
    config = folder / "config.toml"
    config.write_text(
        f'[affinities]\npath = "{paths[0]}"\n[fragments]\npath = "{paths[1]}"\n'
        f'[output]\npath = "{folder / "out.zarr"}"\n'
        f"[schedule]\nworkers = 2\nblock_shape = [{BLOCK}, {BLOCK}, {BLOCK}]\n"
    )
    subprocess.run([sys.executable, "-m", "fgnet_pipeline", "run", config, "--yes"], check=True)
    return config


def make_copy(path: Path, voxels: npt.NDArray[np.uint64]) -> None:
    """Level 0 as precomputed volume, as igneous writes its levels: chunks of 64, compressed_segmentation, gzip."""
    scale = {"resolution": [10.0] * 3, "encoding": "compressed_segmentation",
             "compressed_segmentation_block_size": [8, 8, 8], "chunk_size": [64, 64, 64],
             "size": list(voxels.shape[::-1]), "voxel_offset": [0, 0, 0], "key": "10_10_10"}  # fmt: skip
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path}/"},
            "multiscale_metadata": {"type": "segmentation", "data_type": "uint64", "num_channels": 1},
            "scale_metadata": scale, "store_data_equal_to_fill_value": True}  # fmt: skip
    ts.open(spec, create=True).result().write(voxels.T[..., None]).result()


def timed(command: list[Any]) -> tuple[float, float]:
    """Seconds of a command from start to end, and the CPU seconds of all of its processes.

    Workers belong to a process that the command does not wait for. This process adopts them (on Linux).
    """
    subreaper = 36
    ctypes.CDLL(None).prctl(subreaper, 1, 0, 0, 0)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(runs: list[tuple[float, float]]) -> str:
    """The least times of several runs."""
    return f"{min(t for t, _ in runs):.1f} s, {min(cpu for _, cpu in runs):.1f} s CPU {[round(t, 1) for t, _ in runs]}"


def peak_memory(records: Path) -> int:
    """The largest peak memory of a worker, in bytes."""
    lines = [line for path in records.glob("progress/*/done-*.jsonl") for line in path.read_text().splitlines()]
    return max(json.loads(line)["peak_memory"] for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for everything that is written")
    parser.add_argument("--labels", required=True, help="array of labels to tile")
    parser.add_argument("--shape", default="512,512,512", help="voxels, zyx")
    parser.add_argument("--igneous", help="path of the executable; without it only ours is measured")
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    shape, out = tuple(int(n) for n in asked.shape.split(",")), asked.out
    out.mkdir(parents=True)
    voxels = tiled(zarr.open_array(asked.labels, mode="r")[...], shape)
    config = make_result(out, voxels)
    voxels = zarr.open_array(out / "out.zarr" / "segmentation", mode="r")[...]
    if asked.igneous:
        make_copy(out / "copy", voxels)
    ours, theirs = [], []
    for number in range(asked.repeats):
        to, pyramid = out / f"ours{number}", out / f"theirs{number}"
        command = [sys.executable, "-m", "fgnet_pipeline", "export", config, "ome-zarr", "--to", to]
        ours.append(timed([*command, "--array", "segmentation", "--levels", asked.levels, "--workers", asked.workers]))
        if asked.igneous:
            shutil.copytree(out / "copy", pyramid)
            arguments = ["-p", asked.workers, "image", "downsample", f"file://{pyramid.absolute()}", "--volumetric"]
            theirs.append(timed([asked.igneous, *arguments, "--num-mips", asked.levels - 1]))
    print(f"{voxels.size / 1e6:.0f} Mvoxel, {asked.levels} levels, {asked.workers} workers")
    print(f"ours, with level 0: {least(ours)}, "
          f"peak memory of a worker {peak_memory(out / 'ours0.progress') / 2**20:.0f} MiB")  # fmt: skip
    if asked.igneous:
        print(f"igneous, without level 0: {least(theirs)}, ratio igneous / ours {min(theirs)[0] / min(ours)[0]:.2f}")
        print(f"equal voxels of the deepest level: {equal_share(out, asked.levels - 1):.4f}")


def equal_share(out: Path, level: int) -> float:
    """The share of voxels of a level that are equal in both pyramids."""
    written = len(json.loads((out / "theirs0" / "info").read_text())["scales"])
    if written <= level:
        raise SystemExit(f"igneous wrote only {written} levels of so small a volume: choose a larger --shape")
    for path in (out / "theirs0").rglob("*.gz"):  # which TensorStore does not look for
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    store_ = {"driver": "file", "path": f"{out}/theirs0/"}
    theirs = ts.open({"driver": "neuroglancer_precomputed", "kvstore": store_, "scale_index": level}).result()
    ours = zarr.open_array(out / "ours0" / "segmentation" / str(level), mode="r")[...]
    return float((ours == theirs.read().result()[..., 0].T).mean())


if __name__ == "__main__":
    main()
