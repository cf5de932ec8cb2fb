"""Calculate blocks, rows, bytes, memory and hours for a large cubic volume from measured inputs.

    python benchmarks/petavoxel.py --voxels 1e15

Nothing is measured here; benchmarks/results/petavoxel.md says where each default comes from. `levels` has one entry per
level of the octree, leaves first: the number of nodes, and the edges and GiB of its largest node. `core_hours` are
hours of one core.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

GIB = 2.0**30


def calculate(o: argparse.Namespace) -> dict[str, Any]:
    """Figures for a cube of `o.voxels`; bytes in GiB, cpu in core hours."""
    side = o.voxels ** (1 / 3)
    fragments = o.voxels * o.fragments_per_mvoxel / 1e6
    edges = fragments * o.edges_per_fragment
    blocks = o.voxels / o.block**3
    spacing = (1e6 / o.fragments_per_mvoxel) ** (1 / 3)
    return {
        "blocks": blocks,
        "blocks_an_axis": side / o.block,
        "fragments": fragments,
        "edges": edges,
        "table_gib": {
            "fragments": fragments * o.fragment_bytes / GIB,
            "edges": edges * o.edge_bytes / GIB,
            "merges": fragments * o.merge_bytes / GIB,
            "lut": fragments * o.lut_bytes / GIB,
        },
        "files": 2 * blocks + 3 * blocks,
        "levels": _levels(o, side, spacing),
        "core_hours": {
            "fragments": o.voxels / o.fragments_rate / 3600,
            "edges": o.voxels / o.edges_rate / 3600,
            "agglomerate and lut": edges * o.edge_microseconds / 1e6 / 3600,
        },
    }


def _levels(o: argparse.Namespace, side: float, spacing: float) -> list[dict[str, float]]:
    """Edges and memory of the largest node of every level; a leaf holds its volume, others what children left."""
    leaf = o.block * o.leaf_blocks
    edges = (leaf / spacing) ** 3 * o.edges_per_fragment
    levels, width, level = [], float(leaf), 0
    while True:
        levels.append(
            {"level": level, "nodes": max(1.0, (side / width) ** 3), "edges": edges, "gib": _memory(o, edges)}
        )
        if width >= side:
            return levels
        width, level = 2 * width, level + 1
        inner = min(width, side)
        # 3 planes between children, seen from both sides, and the node's own 6 faces where it does not end the volume.
        faces = 6 + (6 if width < side else 0)
        surface = faces * (inner / spacing) ** 2
        edges = o.frozen_per_surface * surface * o.edges_per_fragment


def _memory(o: argparse.Namespace, edges: float) -> float:
    return (edges * o.memory_edge + edges / o.edges_per_fragment * o.memory_fragment) / GIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=float, default=1e15)
    parser.add_argument("--block", type=int, default=256)
    parser.add_argument("--leaf-blocks", type=int, default=4)
    parser.add_argument("--fragments-per-mvoxel", type=float, default=111)
    parser.add_argument("--edges-per-fragment", type=float, default=5.65)
    parser.add_argument("--frozen-per-surface", type=float, default=2.5)
    parser.add_argument("--memory-edge", type=float, default=96, help="bytes")
    parser.add_argument("--memory-fragment", type=float, default=100)
    parser.add_argument("--edge-bytes", type=float, default=35, help="on disk, as the next three")
    parser.add_argument("--fragment-bytes", type=float, default=62)
    parser.add_argument("--merge-bytes", type=float, default=16)
    parser.add_argument("--lut-bytes", type=float, default=5)
    parser.add_argument("--fragments-rate", type=float, default=5.35e6, help="voxels/s and core")
    parser.add_argument("--edges-rate", type=float, default=63e6)
    parser.add_argument("--edge-microseconds", type=float, default=5, help="core microseconds an edge, tables included")
    print(json.dumps(calculate(parser.parse_args()), indent=1))


if __name__ == "__main__":
    main()
