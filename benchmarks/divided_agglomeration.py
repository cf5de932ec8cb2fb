"""Measure time per edge and memory per process of the divided agglomeration of a synthetic region adjacency graph.

    python benchmarks/divided_agglomeration.py --edges 1e6 1e7 --leaf-blocks 4 --workers 0 --folder FOLDER
    python benchmarks/divided_agglomeration.py --edges 1e8 --folder FOLDER      # 8 GB of tables

The graph: fragments on a lattice, --per-block along each axis of a block, each joined to a random half of its 26
neighbours (7 edges per fragment), in cells of about 200 fragments. Means are high inside a cell and low between cells.
Blocks are made one by one; their tables and records are written as the fragments and edges stages would write them.
Then `fgnet_pipeline.execution.run` does the agglomerate and lut stages over its octree, with the real tables, keys and
records.

seconds: wall time of the run, with the planning of the driver. cpu: processor time of this process, which does all work
with --workers 0. node_seconds: sum over all nodes, from their records. peak_gb: largest resident memory of a process
that did a node. driver_gb: that of the driver. Other processes make the graph; it is in none of these figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.geometry import BLOCK_BITS, NUMBER_BITS, Vector, first_id
from fgnet_pipeline.core.hashing import combine
from fgnet_pipeline.execution.resume import prepare
from fgnet_pipeline.execution.run import open_planned, run, tasks_of
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stages_after
from fgnet_pipeline.store.records.record import Record
from fgnet_pipeline.store.records.writer import RecordWriter

BLOCK = 64
"""Voxels along a block; only the grid matters, and the voxels are not read."""
FORWARD = np.array([o for o in product((-1, 0, 1), repeat=3) if o > (0, 0, 0)])
EDGES_A_FRAGMENT = 7
CELL, JITTER = 6.0, 1.7
STAGES = ("agglomerate", "lut")
IntArray = npt.NDArray[np.int64]


def block_of_edges(block: Vector, width: int) -> dict[str, npt.NDArray[Any]]:
    """The edge table of one block: pairs of lattice points whose upper block is this one.

    width: fragments along a block. Every block can be made alone: cells and noise follow from positions.
    """
    low = np.maximum(np.multiply(block, width) - 1, 0)
    high = np.add(block, 1) * width
    points = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 3)
    one, other = (np.concatenate(parts) for parts in zip(*[(points, points + o) for o in FORWARD], strict=True))
    upper = np.maximum(one // width, other // width)
    inside = (upper == block).all(1) & (other >= low).all(1)
    rng = np.random.default_rng([*block, width])
    keep = inside & (rng.random(len(one)) < EDGES_A_FRAGMENT / len(FORWARD))
    one, other = one[keep], other[keep]
    same = (_cells(one) == _cells(other)).all(1)
    mean = np.clip(np.where(same, 0.8, 0.25) + 0.15 * rng.standard_normal(len(one)), 0.001, 0.999)
    count = np.ceil(rng.lognormal(4, 1, len(one))).astype(np.uint64)
    ends = np.sort(np.stack([_ids(one, width), _ids(other, width)], 1), axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    total = np.round(255 * mean * count).astype(np.uint64)
    return {"u": ends[order, 0], "v": ends[order, 1], "sum": total[order], "count": count[order]}


def _cells(points: IntArray) -> IntArray:
    """The cell of each lattice point: a coarser lattice, its faces blurred."""
    noise = np.stack([combine(*points.T, axis) for axis in range(3)], 1).astype(np.float64) / 2.0**64 - 0.5
    return np.asarray(np.floor((points + 2 * JITTER * noise) / CELL), np.int64)


def _ids(points: IntArray, width: int) -> npt.NDArray[np.uint64]:
    """Packed ids of lattice points, as `geometry.first_id` packs them."""
    z, y, x = (points // width).T
    number = np.ravel_multi_index(tuple((points % width).T), (width,) * 3) + 1
    packed = (((z << BLOCK_BITS | y) << BLOCK_BITS | x) << NUMBER_BITS) + number
    return np.asarray(packed, np.uint64)


def configuration(folder: Path, side: int, leaf_blocks: int, workers: int) -> Config:
    shape = (3, *[side * BLOCK] * 3)
    affinities = zarr.create_array(
        str(folder / "affinities"), shape=shape, dtype="uint8", chunks=(3, BLOCK, BLOCK, BLOCK), overwrite=True
    )
    affinities[0, 0, 0, 0] = 1  # affinities of which nothing is stored are refused
    return validate(
        {
            "volume": {"voxel_size": [10, 10, 10]},
            "affinities": {"path": str(folder / "affinities")},
            "output": {"path": str(folder / "out.zarr")},
            "schedule": {"workers": workers, "block_shape": [BLOCK] * 3},
            "agglomerate": {"leaf_blocks": leaf_blocks},
        }
    )


def write_graph(config: Config, width: int, part: int, parts: int) -> None:
    """Tables and records of every block whose number is `part` modulo `parts`."""
    job = open_planned(config, stages_after("predict"))
    blocks = job.plan.active_blocks("edges", job.plan.blocks("edges"))[part::parts]
    writers = {name: RecordWriter(job.output.progress.root, name, "") for name in ("fragments", "edges")}
    for block in blocks:
        ids = np.uint64(first_id(block)) + np.arange(1, width**3 + 1, dtype=np.uint64)
        for name, columns in (("fragments", {"id": ids}), ("edges", block_of_edges(block, width))):
            key, inputs = job.plan.identity(name, block)
            job.output.tables(name, name).write(block, columns, key)
            # No voxel of a fragment is written, and a record must not say that one was.
            rows = len(columns["u"]) if name == "edges" else 0
            told = {"stage": name, "block": block, "read": [], "key": key, "inputs": inputs, "checksum": "", "host": ""}
            others = {field.name: 0 for field in dataclasses.fields(Record) if field.name not in told}
            record = Record(**{**told, **others, "nonzero": rows})
            writers[name].add(record, [])
    for writer in writers.values():
        writer.close()


def make_graph(config: Config, width: int, processes: int) -> None:
    job = open_planned(config, stages_after("predict"))
    job.output.create()
    prepare(job, list(job.plan.tasks), None)
    context = multiprocessing.get_context("spawn")
    makers = [context.Process(target=write_graph, args=(config, width, i, processes)) for i in range(processes)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
        if maker.exitcode != 0:
            raise SystemExit("the graph could not be made")


def measure(edges: float, width: int, leaf_blocks: int, workers: int, folder: Path) -> dict[str, Any]:
    """Make a graph of about this many edges, agglomerate it, and say what it took."""
    side = max(1, round((edges / EDGES_A_FRAGMENT / width**3) ** (1 / 3)))
    config = configuration(folder, side, leaf_blocks, workers)
    make_graph(config, width, 2)
    agglomerate(*block_of_edges((0, 0, 0), 4).values())  # loads the compiled kernels
    wall, cpu = time.perf_counter(), time.process_time()
    job = run(config, STAGES)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    total = sum(record["nonzero"] for record in job.output.progress.records("edges"))
    return {
        "edges": total,
        "fragments": side**3 * width**3,
        "blocks": side**3,
        "leaf_blocks": leaf_blocks,
        "workers": workers,
        "seconds": round(wall, 2),
        "cpu": round(cpu, 2),
        "cpu_us_per_edge": round(1e6 * cpu / total, 3) if not workers else None,
        **_from_records(job, total),
    }


def _from_records(job: Job, edges: int) -> dict[str, Any]:
    names = tasks_of(job.plan, STAGES)
    records = {name: list(job.output.progress.records(name)) for name in names}
    seconds = sum(record["seconds"] for found in records.values() for record in found)
    peak = max(record["peak_memory"] for found in records.values() for record in found)
    levels = {
        name: {
            "nodes": len(found),
            "seconds": round(sum(r["seconds"] for r in found), 2),
            "rows": sum(r["nonzero"] for r in found),
            "largest": max(r["nonzero"] for r in found),
        }
        for name, found in records.items()
    }
    tables = sum(path.stat().st_size for path in (job.output.state / "tables").rglob("*.parquet"))
    return {
        "node_seconds": round(seconds, 2),
        "node_us_per_edge": round(1e6 * seconds / edges, 3),
        "peak_gb": round(peak / 2**30, 3),
        "driver_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "table_gb": round(tables / 2**30, 3),
        "levels": levels,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=float, nargs="+", default=[1e6])
    parser.add_argument("--per-block", type=int, default=13, help="fragments along each axis of a block")
    parser.add_argument("--leaf-blocks", type=int, default=4)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the tables go; by default a temporary folder")
    options = parser.parse_args()
    if len(options.edges) > 1:
        # A process of its own for every size, so that each reports its own peak.
        for edges in options.edges:
            rest = [
                "--per-block",
                options.per_block,
                "--leaf-blocks",
                options.leaf_blocks,
                "--workers",
                options.workers,
            ]
            rest += ["--folder", options.folder] if options.folder else []
            subprocess.run([sys.executable, __file__, "--edges", str(edges), *map(str, rest)], check=True)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        result = measure(options.edges[0], options.per_block, options.leaf_blocks, options.workers, Path(name))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
