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
from fgnet_pipeline.evaluation.oracle import unreadable
from fgnet_pipeline.evaluation.skeleton_files import Skeleton, read_skeletons
from fgnet_pipeline.evaluation.skeleton_place import Place, check_place
from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency
from fgnet_pipeline.kernels.run_length import Graph, RunLengths, perfectly_merged, run_lengths
from fgnet_pipeline.store.volume import Volume, open_volume


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
        oracle: run lengths if every merge of the fragments was right; None if the fragments are unknown.
        warnings: sentences about what is missing.
    """

    runs: RunLengths
    voi_split: float
    voi_merge: float
    names: Sequence[str]
    nodes: int
    left_out: int
    oracle: RunLengths | None = None
    warnings: Sequence[str] = ()

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
        bound = {} if self.oracle is None else {"oracle": {
            "expected_run_length": self.oracle.expected,
            "normalised_expected_run_length": self.oracle.normalised,
            "mergers": len(self.oracle.mergers),
        }}  # fmt: skip
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
            **bound,
            "warnings": list(self.warnings),
            "skeletons": rows,
        }


def score_skeletons(
    segmentation: str, folder: str, unit: str = "nm", merge_nodes: int = 1, fragments: Volume | None = None
) -> SkeletonScores:
    """Score a segmentation by the skeletons of a folder, in nm of the world.

    Args:
        segmentation: path or URL of a Zarr array of ids (z, y, x) that states its voxel size.
        folder: of SWC files or of precomputed skeletons.
        unit: of SWC files that state none.
        merge_nodes: see `fgnet_pipeline.kernels.run_length.run_lengths`.
        fragments: that the segmentation was merged from, in the same voxels, for the bound; None if they are unknown.

    Raises:
        InputError: an array or skeletons that cannot be read, or skeletons of another place or unit.
    """
    skeletons = read_skeletons(folder, unit)
    volume = open_volume(segmentation, "SEGMENTATION")
    check_place(folder, skeletons, _place(volume))
    return scores_by(volume, skeletons, merge_nodes, fragments)


def scores_by(
    volume: Volume, skeletons: Sequence[Skeleton], merge_nodes: int = 1, fragments: Volume | None = None
) -> SkeletonScores:
    """Score a segmentation by skeletons.

    Nodes outside the array, and nodes in voxels that were not computed, are left out with their edges.

    Args:
        volume: the segmentation.
        skeletons: positions in nm of the world.
        merge_nodes: see `fgnet_pipeline.kernels.run_length.run_lengths`.
        fragments: see `score_skeletons`.

    Raises:
        InputError: a segmentation without a voxel size, or one of which nothing is computed.
    """
    nodes = np.concatenate([skeleton.nodes for skeleton in skeletons])
    voxels, inside = _place(volume).voxels(nodes)
    known, computed = inside.copy(), computed_part(volume.path, volume)
    segments = np.zeros(len(voxels), np.uint64)
    segments[inside], known[inside] = _sampled(volume, computed, voxels[inside])
    graph = graph_of_skeletons(skeletons, segments, known)
    split, merged = kernel.conditional_entropies(_table(graph))
    oracle: RunLengths | None = None
    warnings: list[str] = []
    if fragments is not None:
        try:
            below = np.zeros(len(voxels), np.uint64)
            below[inside], _ = _sampled(fragments, None, voxels[inside])
            best = perfectly_merged(graph_of_skeletons(skeletons, below, known), merge_nodes)
            oracle = run_lengths(best, merge_nodes)
        except InputError as error:
            warnings.append(unreadable(fragments, error))
    names, left_out = [skeleton.name for skeleton in skeletons], int((~known).sum())
    return SkeletonScores(
        run_lengths(graph, merge_nodes), split, merged, names, len(graph.segment), left_out, oracle, warnings
    )


def _place(volume: Volume) -> Place:
    if volume.frame is None:
        expected = "an array that states its voxel size, since skeletons are in nm"
        raise InputError("SEGMENTATION", volume.path, expected, "give it the attributes voxel_size and offset")
    return Place(volume.frame, volume.shape)


def _sampled(
    volume: Volume, computed: Computed | None, voxels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """The segment at each voxel (n, 3), and whether the voxel was computed; every block is read once."""
    reader = VolumeReader(volume)
    grid = Grid(vector([max(1, min(256, -(-128 // c) * c)) for c in reader.chunks]))
    segments, known = np.zeros(len(voxels), np.uint64), np.ones(len(voxels), bool)
    blocks, place = np.unique(voxels // grid.block_shape, axis=0, return_inverse=True)
    order = np.argsort(place.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(place.ravel(), minlength=len(blocks)))
    for begin, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
        mine = order[begin:end]
        box = Box(vector(voxels[mine].min(0)), vector(voxels[mine].max(0) + 1))  # less than the whole block
        at = tuple((voxels[mine] - box.begin).T)
        found = reader[box.slices()][at]
        segments[mine] = np.maximum(found, 0).astype(np.uint64)  # -1 is background, too
        reasons = computed.reasons(box) if computed is not None else None
        if reasons is not None:
            known[mine] = reasons[at] == 0
    return segments, known


def graph_of_skeletons(
    skeletons: Sequence[Skeleton], segments: npt.NDArray[np.uint64], known: npt.NDArray[np.bool_]
) -> Graph:
    """All skeletons as one graph of the known nodes.

    Args:
        skeletons: n nodes together.
        segments: uint64 (n,), the segment at each node, in the order of the skeletons.
        known: bool (n,), which nodes are kept.
    """
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
