"""Measure what the machinery around a stage costs: a block of no work, and prediction beside bare forward passes.

    python benchmarks/pipeline_overhead.py no-op --blocks 2000
    python benchmarks/pipeline_overhead.py predict --raw ../shared/data/fib25.zarr/raw

`no-op`: milliseconds per block of a stage that does nothing, through slot, plan key, driver check and done record.
Waiting for the flush to disk is not counted, because it happens in a thread of its own. `predict`: one worker; seconds
of whole blocks (read, normalise, tile, blend, quantise, write, record) over the seconds of the same number of bare
forward passes in the same process, in turns. 1 would mean that the machinery costs nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from fgnet_pipeline.execution.block_runner import BlockRunner
from fgnet_pipeline.execution.processes.machine_slots import Slots
from fgnet_pipeline.execution.resume import prepare
from fgnet_pipeline.execution.run import open_planned
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import attach_known_keys, stage_names


def make_job(folder: Path, raw: str, **tables: Any) -> Job:
    """A job with its output made."""
    config = {"volume": {"path": raw}, "output": {"path": str(folder / "out.zarr")}} | tables
    job = open_planned(validate(config), stage_names())
    job.output.create()
    prepare(job, list(job.plan.tasks), None)
    attach_known_keys(job)
    return job


def no_op(count: int) -> None:
    """Milliseconds a block for every kind of task."""
    from no_op_stages import NoOp  # which leaves out the work of all stages

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        array = zarr.create_array(str(folder / "raw"), shape=(640, 640, 640), dtype="uint8", chunks=(64, 64, 64))
        array.attrs["voxel_size"] = [10, 10, 10]
        array[0, 0, 0] = 1  # a volume of which nothing is stored is refused
        tables = {"model": {"checkpoint": "identity"}, "schedule": {"block_shape": [32, 32, 32]}}
        job = make_job(folder, str(folder / "raw"), **tables)
        number = job.output.progress.set_driver()
        slots = Slots(str(folder / "slots"), 2)
        for task in ("predict", "fragments", "edges"):
            runner = BlockRunner(job, task, number, slot=slots.hold)
            runner.stage = NoOp()
            blocks = list(np.ndindex(20, 20, 20))[:count]
            times = []
            for block in blocks:
                begin = time.perf_counter()
                assert runner.run(block)
                times.append(time.perf_counter() - begin)
            runner.close()
            print(f"{task}: median {1e3 * np.median(times):.3f} ms a block, mean {1e3 * np.mean(times):.3f} ms")


def predict(raw: str, checkpoint: str, rounds: int) -> None:
    """Ratio of whole predict blocks to bare forward passes."""
    with tempfile.TemporaryDirectory() as name:
        tables = {"model": {"checkpoint": checkpoint}, "schedule": {"block_shape": [72, 72, 72]}}
        job = make_job(Path(name), raw, **tables)
        runner = BlockRunner(job, "predict", job.output.progress.set_driver())
        stage: Any = runner.stage
        shape = stage.tiling.tile
        tile = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
        stage.network(tile)
        whole, bare, tiles = 0.0, 0.0, 0
        for block in list(np.ndindex(2, 2, 2))[:rounds]:
            needed = len(list(stage.tiling.tiles(job.plan.write_box("predict", block), job.bounds)))
            begin = time.perf_counter()
            assert runner.run(block)
            middle = time.perf_counter()
            for _ in range(needed):
                # Another content every time: the network keeps the guides of sections that it has seen.
                tile = np.roll(tile, 1, axis=-1)
                stage.network(tile)
            whole, bare, tiles = whole + middle - begin, bare + time.perf_counter() - middle, tiles + needed
        runner.close()
        print(f"{tiles} tiles of {shape}: blocks {whole:.2f} s, bare passes {bare:.2f} s, ratio {whole / bare:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("no-op")
    first.add_argument("--blocks", type=int, default=2000)
    second = commands.add_parser("predict")
    second.add_argument("--raw", required=True)
    second.add_argument("--checkpoint", default="nano-fib25")
    second.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    if arguments.command == "no-op":
        no_op(arguments.blocks)
    else:
        predict(arguments.raw, arguments.checkpoint, arguments.rounds)


if __name__ == "__main__":
    main()
