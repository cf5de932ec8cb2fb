"""What the tables of a finished output hold: the inputs of the calculation in docs/scale.md.

    python benchmarks/table_sizes.py demo/segmentation.zarr

For every kind of table: files, rows, bytes a row; fragments and edges per million voxels of the region that was done;
and for every level of the octree the rows a node handed up, over those that its leaves took in.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fgnet_pipeline.store.records import Progress


def sizes(output: Path) -> dict[str, dict[str, float]]:
    """Kind of table -> files, rows, bytes a row."""
    found = {}
    for folder in sorted((output / "tables").iterdir()):
        files = list(folder.rglob("*.parquet"))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        size = sum(file.stat().st_size for file in files)
        found[folder.name] = {"files": len(files), "rows": rows, "bytes_a_row": round(size / max(1, rows), 1)}
    return found


def report(output: Path) -> dict[str, Any]:
    tables = sizes(output)
    done = {tuple(record["block"]): record["voxels"] for record in Progress(output / "progress").records("edges")}
    million = sum(done.values()) / 1e6
    return {
        "mvoxel": million,
        "fragments_per_mvoxel": round(tables["fragments"]["rows"] / million, 1),
        "edge_rows_per_mvoxel": round(tables["edges"]["rows"] / million, 1),
        "edge_rows_per_fragment": round(tables["edges"]["rows"] / tables["fragments"]["rows"], 2),
        "tables": tables,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    print(json.dumps(report(parser.parse_args().output), indent=1))


if __name__ == "__main__":
    main()
