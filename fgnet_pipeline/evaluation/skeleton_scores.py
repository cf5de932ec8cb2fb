"""Scores of a stored segmentation by skeletons: reads the segment at every node, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Grid, vector
from fgnet_pipeline.evaluation.comparison import VolumeReader
from fgnet_pipeline.evaluation.computed import Computed, computed_part
from fgnet_pipeline.evaluation.skeleton_files import FIELD, Skeleton, read_skeletons
from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency
from fgnet_pipeline.kernels.run_length import Graph, RunLengths, run_lengths
from fgnet_pipeline.store.volume import Frame, open_volume

#: If less of all nodes lies inside the volume, the skeletons are in another unit or place.
LEAST_INSIDE = 0.5


@dataclass(frozen=True)
class SkeletonScores:
    """The scores of a segmentation by skeletons.

    Attributes:
        runs: run lengths, splits and mergers.
        voi_split: H(segment | skeleton) over nodes, in bits.
        voi_merge: H(skeleton | segment) over nodes, in bits.
        names: of the skeletons.
        nodes: number of nodes that were scored.
        left_out: number of nodes outside the volume, or in voxels that were not computed.
    """

    runs: RunLengths
    voi_split: float
    voi_merge: float
    names: Sequence[str]
    nodes: int
    left_out: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON. Lengths are nm; ids of segments are texts."""
        runs = self.runs
        columns = zip(
            self.names, runs.length, runs.per_skeleton, runs.pieces, runs.split_edges, runs.omitted_edges,
            runs.merged_edges, strict=True,
        )  # fmt: skip
        keys = (
            "skeleton", "length", "expected_run_length", "segments", "split_edges", "omitted_edges", "merged_edges",
        )  # fmt: skip
        rows = [dict(zip(keys, (name, float(a), float(b), *map(int, c)), strict=True)) for name, a, b, *c in columns]
        return {
            "expected_run_length": runs.expected,
            "normalised_expected_run_length": runs.normalised,
            "voi_split": self.voi_split,
            "voi_merge": self.voi_merge,
            "splits": int(runs.split_edges.sum()),
            "mergers": len(runs.mergers),
            "nodes": self.nodes,
            "left_out": self.left_out,
            "merging_segments": [str(id_) for id_ in runs.mergers.tolist()],
            "skeletons": rows,
        }


def score_skeletons(segmentation: str, folder: str, unit: str = "nm", merge_nodes: int = 1) -> SkeletonScores:
    """Score a segmentation by skeletons in nm of the world.

    Nodes outside the array, and nodes in voxels that were not computed, are left out with their edges.

    Args:
        segmentation: path or URL of a Zarr array of ids (z, y, x) that states its voxel size.
        folder: of SWC files or of precomputed skeletons.
        unit: of SWC files that state none.
        merge_nodes: see `fgnet_pipeline.kernels.run_length.run_lengths`.

    Raises:
        InputError: an array or skeletons that cannot be read, or skeletons of another place or unit.
    """
    volume = open_volume(segmentation, "SEGMENTATION")
    if volume.frame is None:
        expected = "an array that states its voxel size, since skeletons are in nm"
        raise InputError("SEGMENTATION", segmentation, expected, "give it the attributes voxel_size and offset")
    skeletons = read_skeletons(folder, unit)
    voxels, inside = _voxels(skeletons, volume.frame, volume.shape)
    if inside.mean() < LEAST_INSIDE:
        raise _elsewhere(folder, skeletons, volume.frame, volume.shape)
    segments = np.zeros(len(voxels), np.uint64)
    reader, computed = VolumeReader(volume), computed_part(segmentation, volume)
    block = Grid(vector([max(1, min(256, -(-128 // c) * c)) for c in reader.chunks]))
    known = inside.copy()
    segments[inside], known[inside] = _sampled(reader, computed, block, voxels[inside])
    graph = _graph(skeletons, segments, known)
    split, merged = kernel.conditional_entropies(_table(graph))
    left_out = int((~known).sum())
    names = [skeleton.name for skeleton in skeletons]
    return SkeletonScores(run_lengths(graph, merge_nodes), split, merged, names, len(graph.segment), left_out)


def _voxels(
    skeletons: list[Skeleton], frame: Frame, shape: tuple[int, int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The voxel (zyx) of every node, and whether it lies in the array."""
    nodes = np.concatenate([skeleton.nodes for skeleton in skeletons])
    voxels = np.floor((nodes - frame.offset) / frame.voxel_size).astype(np.int64)
    inside = (voxels >= 0) & (voxels < shape)
    return voxels, inside[:, 0] & inside[:, 1] & inside[:, 2]


def _sampled(
    reader: VolumeReader, computed: Computed | None, grid: Grid, voxels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """The segment at each voxel (n, 3), and whether the voxel was computed; every block is read once."""
    segments, known = np.zeros(len(voxels), np.uint64), np.ones(len(voxels), bool)
    blocks, place = np.unique(voxels // grid.block_shape, axis=0, return_inverse=True)
    order = np.argsort(place.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(place.ravel(), minlength=len(blocks)))
    for begin, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
        mine = order[begin:end]
        box = Box(vector(voxels[mine].min(0)), vector(voxels[mine].max(0) + 1))  # less than the whole block
        at = tuple((voxels[mine] - box.begin).T)
        segments[mine] = reader[box.slices()].astype(np.uint64)[at]
        reasons = computed.reasons(box) if computed is not None else None
        if reasons is not None:
            known[mine] = reasons[at] == 0
    return segments, known


def _graph(skeletons: list[Skeleton], segments: npt.NDArray[np.uint64], known: npt.NDArray[np.bool_]) -> Graph:
    """All skeletons as one graph of the known nodes."""
    counts = [len(skeleton.nodes) for skeleton in skeletons]
    first = np.cumsum([0, *counts[:-1]])
    owner = np.repeat(np.arange(len(skeletons)), counts)
    edges = np.concatenate([skeleton.edges + start for skeleton, start in zip(skeletons, first, strict=True)])
    lengths = np.concatenate([skeleton.lengths for skeleton in skeletons])
    kept = known[edges].all(axis=1)
    renamed = np.cumsum(known) - 1
    return Graph(owner[known], segments[known], renamed[edges[kept]], lengths[kept], len(skeletons))


def _table(graph: Graph) -> Contingency:
    """Nodes per segment and skeleton; skeletons are counted from 1 on, because label 0 is no label."""
    return kernel.contingency(graph.segment.reshape(1, 1, -1), (graph.skeleton + 1).astype(np.uint64).reshape(1, 1, -1))


def _elsewhere(folder: str, skeletons: list[Skeleton], frame: Frame, shape: tuple[int, int, int]) -> InputError:
    nodes = np.concatenate([skeleton.nodes for skeleton in skeletons])
    low, high = nodes.min(0).round(1).tolist(), nodes.max(0).round(1).tolist()
    end = (np.asarray(frame.offset) + np.multiply(shape, frame.voxel_size)).round(1).tolist()
    return InputError(
        FIELD,
        f"{folder} from {low} to {high} nm (z, y, x)",
        f"at least half of all nodes inside the segmentation, {list(frame.offset)} to {end} nm",
        "give --skeleton-unit, or take skeletons of this volume",
    )
