"""Compare the peak memory of a worker of every export for a result and for one that is eight times as large.

    python benchmarks/export_memory.py --side 192 --times 8

Both results are runs with the identity network on generated cells, with the same block shape and number of workers. The
larger one is `--times` generated volumes behind one another. A leaf of the octree has 2 x 2 x 2 blocks, so the smaller
volume fills one if its side is 128: memory may depend on a leaf, but not on their number. The peak of each task is read
from the records of the export. A ratio of 1 means that memory does not grow with the volume.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.datasets.phantom import Phantom, generate

#: Format -> name of the target.
TARGETS = {
    "ome-zarr": "pyramid.zarr", "precomputed": "precomputed", "meshes": "meshes", "skeletons": "skeletons",
    "graph": "graph.db", "edges": "edges.parquet", "webknossos": "agglomerate.hdf5",
}  # fmt: skip
CONFIG = """
[volume]
path = "raw"
[output]
path = "out.zarr"
[model]
checkpoint = "identity"
[agglomerate]
leaf_blocks = 2
[schedule]
workers = 2
block_shape = [64, 64, 64]
"""


def fgnet(*words: str, folder: Path) -> None:
    """Run a command in a folder."""
    command = [sys.executable, "-m", "fgnet_pipeline", *words]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_result(raw: npt.NDArray[np.uint8], folder: Path) -> None:
    """A finished run over `raw` (z, y, x)."""
    folder.mkdir()
    array = zarr.create_array(str(folder / "raw"), shape=raw.shape, dtype="uint8", chunks=(64, 64, 64))
    array[:] = raw
    array.attrs["voxel_size"] = [10, 10, 10]
    (folder / "config.toml").write_text(CONFIG)
    fgnet("run", "config.toml", "--yes", folder=folder)


def peaks(name: str, folder: Path) -> dict[str, float]:
    """MiB of the largest worker of every task of an export."""
    target = folder / TARGETS[name]
    fgnet("export", "out.zarr", name, "--to", str(target), "--workers", "2", folder=folder)
    largest: dict[str, float] = {}
    for path in Path(f"{target}.progress").glob("progress/*/done-*.jsonl"):
        for line in path.read_text().splitlines():
            peak = json.loads(line)["peak_memory"] / 2**20
            largest[path.parent.name] = max(largest.get(path.parent.name, 0.0), peak)
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="voxels of the smaller volume per axis")
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--formats", default=",".join(TARGETS), help="comma list of formats")
    asked = parser.parse_args()
    raw, _ = generate(Phantom(shape=(asked.side,) * 3))
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        make_result(raw, small)
        make_result(np.concatenate([raw] * asked.times, axis=0), large)
        print(f"| format | MiB of the largest worker, {asked.side}^3 voxels | {asked.times} times the volume | ratio |")
        print("|---|---|---|---|")
        for name in asked.formats.split(","):
            one, many = (max(peaks(name, folder).values()) for folder in (small, large))
            print(f"| {name} | {one:.0f} | {many:.0f} | {many / one:.3f} |", flush=True)


if __name__ == "__main__":
    main()
