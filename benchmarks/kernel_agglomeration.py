"""Measure edges per second of the agglomeration kernel on synthetic graphs, beside higra's average linkage.

    python benchmarks/kernel_agglomeration.py                  # 1e4 .. 1e7 edges, this kernel alone
    python benchmarks/kernel_agglomeration.py --higra --edges 7000000

The graph: fragments on a grid, each joined to a random half of its 26 neighbours (7 edges per node). Contact areas are
log-normal. "tissue": cells of about 200 fragments, high means inside a cell and low between; "noise": uniform means.
higra breaks ties in another way, so the graph that both get has none, and the partitions must be the same.
One process, one thread, after numba has compiled. Times are processor time, which other processes disturb less; ratios
are of one run.
"""

import argparse
import json
import resource
import time
from importlib.util import find_spec
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut

Columns = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


def synthetic_rag(edges: int, kind: str = "tissue", ties: bool = True, seed: int = 0) -> Columns:
    """(u, v, sum, count), uint64, sorted by (u, v), with about this many edges; ids are sparse and follow space.

    ties: with counts of real contacts some means are equal; without, counts are so large that none are.
    """
    rng = np.random.default_rng(seed)
    side = max(2, round((edges / 6.4) ** (1 / 3)))
    index = np.arange(side**3).reshape(side, side, side)
    forward = [o for o in product((-1, 0, 1), repeat=3) if o > (0, 0, 0)]
    pairs = []
    for offset in forward:
        here = tuple(slice(max(0, -o), side - max(0, o)) for o in offset)
        there = tuple(slice(max(0, o), side - max(0, -o)) for o in offset)
        both = np.stack([index[here].ravel(), index[there].ravel()], 1)
        pairs.append(both[rng.random(len(both)) < 7 / 13])
    ends = np.concatenate(pairs)
    ends = ends[np.lexsort((ends[:, 1], ends[:, 0]))]
    count = np.ceil(rng.lognormal(4, 1, len(ends)) * (1 if ties else 1e6)).astype(np.uint64)
    mean = rng.random(len(ends))
    if kind == "tissue":
        position = np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), 1) + rng.normal(0, 1.0, (side**3, 3))
        cell = (position // 6).astype(np.int64) @ np.array([1_000_003, 1009, 1])
        inside = cell[ends[:, 0]] == cell[ends[:, 1]]
        mean = np.clip(np.where(inside, 0.8, 0.25) + 0.15 * rng.standard_normal(len(ends)), 0.001, 0.999)
    ids = np.sort(rng.choice(50 * side**3, side**3, replace=False).astype(np.uint64)) + np.uint64(1)
    return ids[ends[:, 0]], ids[ends[:, 1]], np.round(255 * mean * count).astype(np.uint64), count


def higra_partition(columns: Columns, threshold: float) -> tuple[float, NDArray[np.int64], NDArray[np.uint64]]:
    """CPU seconds of higra's average linkage, and the partition it gives at a threshold, by sorted id."""
    import higra as hg

    u, v, total, count = columns
    ids, ends = np.unique(np.concatenate([u, v]), return_inverse=True)
    graph = hg.UndirectedGraph(len(ids))
    graph.add_edges(ends[: len(u)], ends[len(u) :])
    distance = 255 - total / count
    start = time.process_time()
    tree, altitudes = hg.binary_partition_tree_average_linkage(graph, distance, count.astype(np.float64))
    seconds = time.process_time() - start
    return seconds, hg.labelisation_horizontal_cut_from_threshold(tree, altitudes, 255 * (1 - threshold)), ids


def same_partition(x: NDArray[np.integer], y: NDArray[np.integer]) -> bool:
    pairs = len(np.unique(np.stack([x, y], 1), axis=0))
    return pairs == len(np.unique(x)) == len(np.unique(y))


def measure(edges: int, kind: str, repeats: int, higra: bool) -> dict[str, object]:
    columns = synthetic_rag(edges, kind, ties=not higra)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = agglomerate(*columns)
        seconds.append(time.process_time() - start)
    ids = np.unique(np.concatenate(columns[:2]))
    row: dict[str, object] = {
        "kind": kind,
        "nodes": len(ids),
        "edges": len(columns[0]),
        "cpu_seconds": round(min(seconds), 3),
        "edges_per_second": round(len(columns[0]) / min(seconds)),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    if higra:
        other, partition, other_ids = higra_partition(columns, 0.5)
        row["higra_cpu_seconds"] = round(other, 3)
        row["ratio"] = round(other / min(seconds), 1)
        row["same_partition_at_half"] = same_partition(partition, lut(other_ids, result.merges, 0.5).view(np.int64))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--kinds", nargs="+", default=["tissue", "noise"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--higra", action="store_true", help="time higra on the same graph, compare the partition")
    arguments = parser.parse_args()
    if arguments.higra and find_spec("higra") is None:
        parser.error("--higra needs the package higra: pip install higra")
    agglomerate(*synthetic_rag(1000))
    for kind in arguments.kinds:
        for edges in arguments.edges:
            print(json.dumps(measure(edges, kind, arguments.repeats, arguments.higra)), flush=True)


if __name__ == "__main__":
    main()
