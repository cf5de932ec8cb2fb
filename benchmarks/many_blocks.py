"""Run a hundred thousand blocks of no work: throughput, memory of driver and workers, and time to resume.

    python benchmarks/many_blocks.py --blocks 100000 --workers 8

The tasks predict, fragments and edges each have a third of the blocks (rounded up to a cube), with their dependencies,
worker processes and done records; only the computation of the stage is left out. Then ten blocks of every task (or of
--withdraw) are withdrawn, and `run` is called again in a new process.

The figures are blocks per second, processor time of the driver per block, peak memory of the driver and of the largest
worker, seconds of `fgnet status`, and seconds of the resume: those of the whole process, imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zarr

from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas

forgo_pandas()  # as the command does

from fgnet_pipeline.core.config import Config  # noqa: E402
from fgnet_pipeline.execution.processes.fork_server import fork_server  # noqa: E402
from fgnet_pipeline.execution.run import run  # noqa: E402
from fgnet_pipeline.execution.status import Watch  # noqa: E402
from fgnet_pipeline.stages.configuration import validate  # noqa: E402

STAGES = ("predict", "fragments", "edges")
BLOCK = 16


def configured(folder: Path, blocks: int, workers: int) -> Config:
    """A configuration over a volume with one chunk with `blocks` blocks in all stages together."""
    side = 1
    while len(STAGES) * side**3 < blocks:
        side += 1
    if not (folder / "raw").exists():
        array = zarr.create_array(str(folder / "raw"), shape=(side * BLOCK,) * 3, dtype="uint8", chunks=(64,) * 3)
        array.attrs["voxel_size"] = [10, 10, 10]
        array[0, 0, 0] = 1  # a volume of which nothing is stored is refused
    return validate(
        {
            "volume": {"path": str(folder / "raw")},
            "output": {"path": str(folder / "out.zarr")},
            "model": {"checkpoint": "identity"},
            "schedule": {"workers": workers, "block_shape": [BLOCK] * 3},
        }
    )


def compute(config: Config) -> dict[str, float]:
    """Run what is not done; seconds, CPU seconds and peak memory (MiB) of this process."""
    begin = time.perf_counter()
    fork_server(["no_op_stages"])
    run(config, STAGES)
    seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "driver_mib": used.ru_maxrss / 1024}


def timed(arguments: argparse.Namespace, folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds of a whole process that runs what is not done, and what it says of itself."""
    command = [sys.executable, __file__, "--blocks", str(arguments.blocks), "--workers", str(arguments.workers)]
    begin = time.perf_counter()
    places = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])  # of no_op_stages
    environment = os.environ | {"PYTHONPATH": places}
    folders = [*command, "--folder", str(folder)]
    done = subprocess.run(folders, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return time.perf_counter() - begin, json.loads(done.stdout)


def left(watch: Watch) -> int:
    """Blocks of the three tasks that are not done."""
    return sum(stage.left for stage in watch.look().stages if stage.stage in STAGES)


def measure(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configured(folder, arguments.blocks, arguments.workers)
        _, first = timed(arguments, folder)
        watch = Watch(config)
        begin = time.perf_counter()
        found = [stage for stage in watch.look().stages if stage.stage in STAGES]
        looked = time.perf_counter() - begin
        done, peak = sum(s.done for s in found), max(s.peak_memory or 0 for s in found)
        assert done == sum(s.blocks for s in found)
        print(f"{done} blocks in {first['seconds']:.0f} s, {done / first['seconds']:.0f} blocks/s; "
              f"driver {first['driver_mib']:.0f} MiB, {first['cpu']:.0f} s of CPU; "
              f"largest worker {peak / 2**20:.0f} MiB")  # fmt: skip
        print(f"status of {done} records: {looked:.2f} s")
        progress, withdrawn = watch.job.output.progress, 10 * len(arguments.withdraw)
        for task in arguments.withdraw:
            progress.withdraw(task, [(i, i, i) for i in range(10)], (progress.driver() or 0) + 1)
        assert left(watch) == withdrawn
        whole, again = timed(arguments, folder)
        assert left(watch) == 0
        print(f"all but {withdrawn} done: {whole:.1f} s in all, {again['seconds']:.1f} s without imports; "
              f"driver {again['driver_mib']:.0f} MiB, {again['cpu']:.1f} s of CPU")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=100_000, help="of all three tasks, at least 3000")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--withdraw", nargs="+", default=STAGES, choices=STAGES, help="tasks that are left ten blocks")
    parser.add_argument("--folder", type=Path, help="run what is not done there, and print that as JSON")
    arguments = parser.parse_args()
    if arguments.folder is None:
        measure(arguments)
    else:
        print(json.dumps(compute(configured(arguments.folder, arguments.blocks, arguments.workers))))


if __name__ == "__main__":
    main()
