"""Kernels of a run from affinities on, compiled or loaded once by the process that workers are forked from.

It does its work at import: it runs every kernel on a few voxels, so that no worker has to import, load or compile them
again. A run that only predicts does without it.
"""

from __future__ import annotations

import gc

import numpy as np

from fgnet_pipeline.execution.processes import preload_stages
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut
from fgnet_pipeline.kernels.fragments.components import fragment_table, relabel_components
from fgnet_pipeline.kernels.fragments.method import methods, segment_fragments
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.kernels.relabel import id_range, relabel

__all__ = ["preload_stages"]


def warm_up() -> None:
    """Run the kernels from affinities to segmentation on a volume of two objects."""
    affinities = np.full((3, 4, 8, 8), 255, np.uint8)
    affinities[:, :, :, 3:5] = 0
    for method in methods().values():
        if method.warms_up:
            method.warm_up()
    dense, n = relabel_components(segment_fragments(affinities, "volume"))
    fragment_table(dense, n)
    ids = dense.astype(np.uint64)
    table = block_edges(affinities, ids, (slice(0, 4), slice(0, 8), slice(0, 8)))
    for frozen in (None, np.zeros(0, np.uint64)):
        merges = agglomerate(table.u, table.v, table.sum, table.count, frozen=frozen).merges
    names = np.arange(1, n + 1, dtype=np.uint64)
    relabel(ids, names, lut(names, merges, 0.5))
    id_range(ids)


warm_up()
gc.freeze()
