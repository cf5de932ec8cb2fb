"""The region adjacency graph of an output by brute force: all of its tables at once, read by pandas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Rag:
    """All fragments and edges of an output.

    Attributes:
        nodes: index id; segment, voxels.
        edges: sorted by u, v; sum, count, position (sums) and channels per axis, segments, and the affinities if kept.
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame


def tables(out: Path, kind: str) -> pd.DataFrame:
    """All tables of one kind, one after the other."""
    parts = [pd.read_parquet(path) for path in sorted((out / "tables" / kind).glob("*/*/*.parquet"))]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def rag_of(out: Path) -> Rag:
    """The graph of an output."""
    segment_of = tables(out, "lut-0").set_index("fragment")["segment"]
    nodes = tables(out, "fragments").groupby("id").agg(voxels=("voxels", "sum"))
    nodes["segment"] = segment_of[nodes.index]
    rows = tables(out, "edges")
    for name in ("position", "channel_sum", "channel_count"):
        values = np.stack(rows.pop(name).to_list())
        for i, axis in enumerate(AXES):
            rows[f"{name}_{axis}"] = values[:, i]
    edges = rows.groupby(["u", "v"], sort=True).sum().reset_index()
    for end in ("u", "v"):
        edges[f"segment_{end}"] = segment_of[edges[end]].to_numpy()
    return Rag(nodes, edges)


def quantile_of(histogram: npt.NDArray[np.int64], p: int, q: int) -> float:
    """The (floor(n p / q) + 1)-th smallest of n affinities, in [0, 1]."""
    values = np.repeat(np.arange(256), histogram)
    return float(values[len(values) * p // q]) / 255
