"""Compare the peak memory of a worker for a volume and for one that is many times as large.

    python benchmarks/worker_memory.py --times 16

All stages run with the identity network on generated cells, with the same block shape and number of workers. The peak
of each stage is read from its done records. A ratio of 1 means that memory does not grow with the volume.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import zarr

from fgnet_pipeline.datasets.phantom import Phantom, generate
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.registry import stage_names

SIDE = 128


def peaks(raw: np.ndarray, folder: Path) -> dict[str, float]:
    """MiB of the largest worker of every stage."""
    array = zarr.create_array(str(folder / "raw"), shape=raw.shape, dtype="uint8", chunks=(64, 64, 64))
    array[:] = raw
    array.attrs["voxel_size"] = [10, 10, 10]
    config = {
        "volume": {"path": str(folder / "raw")},
        "output": {"path": str(folder / "out.zarr")},
        "model": {"checkpoint": "identity"},
        "schedule": {"workers": 2, "block_shape": [64, 64, 64]},
    }
    job = run(validate(config))
    largest: dict[str, float] = {}
    for name, task in job.plan.tasks.items():
        for record in job.output.progress.records(name):
            largest[task.stage] = max(largest.get(task.stage, 0.0), record["peak_memory"] / 2**20)
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=16)
    times = parser.parse_args().times
    raw, _ = generate(Phantom(shape=(SIDE, SIDE, SIDE)))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
        small, large = peaks(raw, Path(one)), peaks(np.concatenate([raw] * times, axis=0), Path(many))
    for stage in stage_names():
        print(f"{stage:12s} {small[stage]:6.0f} MiB, {times} x the volume: {large[stage]:6.0f} MiB, "
              f"ratio {large[stage] / small[stage]:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
