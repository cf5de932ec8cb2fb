"""Everything a worker needs, imported and compiled once by the process that workers are forked from.

This is the one module that does work at import: it finds all stages, and runs every compiled kernel on a few voxels, so
that no worker has to import, load or compile them again. Whatever is loaded is left out of garbage collection, which
would copy it in every worker.
"""

from __future__ import annotations

import gc
from contextlib import suppress

import numpy as np
import pyarrow.parquet

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut
from fgnet_pipeline.kernels.fragments.components import fragment_table, relabel_components
from fgnet_pipeline.kernels.fragments.method import methods, segment_fragments
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.kernels.relabel import id_range, relabel
from fgnet_pipeline.stages.configuration import choices

__all__ = ["pyarrow"]


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


forgo_pandas()
with suppress(InputError):  # the driver reports a stage of another distribution that does not fit
    choices()
warm_up()
gc.freeze()
