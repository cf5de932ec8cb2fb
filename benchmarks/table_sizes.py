"""Count what the tables of a finished output hold: the inputs of petavoxel.py.

    python benchmarks/table_sizes.py demo/segmentation.zarr

For every kind of table: files, rows and bytes per row. Fragments and edges are given per million voxels of the region
that was done. If the octree has several leaves, the script also prints what they handed up: clusters over the fragments
along the faces between leaves (faces are counted from both sides; a fragment takes the square of the mean distance of
fragments), and edges per cluster.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import zarr

from fgnet_pipeline.store.atomic_files import read_json
from fgnet_pipeline.store.layout import state_of
from fgnet_pipeline.store.records.progress import Progress


def sizes(output: Path) -> dict[str, dict[str, float]]:
    """Kind of table -> files, rows, bytes a row."""
    found = {}
    for folder in sorted((state_of(output) / "tables").iterdir()):
        files = list(folder.rglob("*.parquet"))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        size = sum(file.stat().st_size for file in files)
        found[folder.name] = {"files": len(files), "rows": rows, "bytes_a_row": round(size / max(1, rows), 1)}
    return found


def handed_up(output: Path, fragments_per_mvoxel: float) -> dict[str, float]:
    """What the leaves of the octree left to their parents."""
    leaf = read_json(state_of(output) / "progress" / "agglomerate-0" / "fingerprint.json")["leaf"]
    shape = zarr.open_array(output / "segmentation", mode="r").shape
    planes = [-(-n // width) - 1 for n, width in zip(shape, leaf, strict=True)]
    faces = 2 * sum(count * np.prod(np.delete(shape, axis)) for axis, count in enumerate(planes))
    if faces == 0:
        return {}
    residual = (state_of(output) / "tables" / "residual-0").rglob("*.parquet")
    tables = [pq.read_table(path, columns=["u", "v"]) for path in residual]
    # An edge that leaves a leaf is in the tables of both, and its ends are clusters that both sides keep.
    edges = np.unique(np.concatenate([np.stack([table["u"], table["v"]], 1) for table in tables]), axis=0)
    clusters = len(np.unique(edges))
    along_faces = float(faces) * (fragments_per_mvoxel / 1e6) ** (2 / 3)
    return {
        "leaves": len(tables),
        "frozen_per_surface": round(clusters / along_faces, 2),
        "edges_per_frozen": round(len(edges) / clusters, 2),
    }


def report(output: Path) -> dict[str, Any]:
    tables = sizes(output)
    progress = Progress(state_of(output) / "progress")
    done = {tuple(record["block"]): record["voxels"] for record in progress.records("edges")}
    million = sum(done.values()) / 1e6
    return {
        "mvoxel": million,
        "fragments_per_mvoxel": round(tables["fragments"]["rows"] / million, 1),
        "edge_rows_per_mvoxel": round(tables["edges"]["rows"] / million, 1),
        "edge_rows_per_fragment": round(tables["edges"]["rows"] / tables["fragments"]["rows"], 2),
        "handed_up": handed_up(output, tables["fragments"]["rows"] / million),
        "tables": tables,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    print(json.dumps(report(parser.parse_args().output), indent=1))


if __name__ == "__main__":
    main()
