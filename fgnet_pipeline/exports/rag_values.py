"""The segments of fragments and the scores of edges, for exports of the region adjacency graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import vector
from fgnet_pipeline.kernels.agglomeration.histograms import values_of
from fgnet_pipeline.kernels.agglomeration.merge_tree import MAXIMUM_AFFINITY
from fgnet_pipeline.kernels.relabel import places
from fgnet_pipeline.stages.checked_tables import Edges, read_lut_range
from fgnet_pipeline.stages.configuration import score_of, score_part
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import Octree

Ids = npt.NDArray[np.uint64]


def segments_of(job: Job, tree: Octree, ids: Ids) -> Ids:
    """The segments of fragments, from the LUTs of their leaves.

    Args:
        job: the result.
        tree: its octree.
        ids: fragments, uint64 (n,), in any order.

    Raises:
        DamageError: a LUT is damaged, or misses a fragment.
    """
    segments = np.zeros(len(ids), np.uint64)
    leaves, which = np.unique(tree.node_of(ids, 0), axis=0, return_inverse=True)
    for number, leaf in enumerate(leaves):
        here = np.flatnonzero(which.reshape(-1) == number)
        wanted = ids[here]
        names, found = read_lut_range(job, vector(leaf), int(wanted.min()), int(wanted.max()))
        at, known = places(names, wanted)
        if not known.all():
            missing, which_leaf = wanted[~known][0], leaf.tolist()
            raise DamageError(
                f"the LUT of leaf {which_leaf} misses fragment {missing}: run again with --redo agglomerate"
            )
        segments[here] = found[at]
    return segments


def scores_of(job: Job, edges: Edges) -> npt.NDArray[np.float64]:
    """The scores that agglomeration gave the edges before anything merged.

    Args:
        job: the result.
        edges: the columns sum and count (n,), and histogram (n, 256) if the score needs it.

    Returns:
        float64 (n,), in [0, 1].
    """
    score = score_of(job.config)
    counts = edges["count"]
    if not score.needs_histogram:
        return np.asarray(edges["sum"] / (MAXIMUM_AFFINITY * counts.astype(np.float64)))
    part = score_part(job.config) or (0, 1)
    values = values_of(edges["histogram"], counts.astype(np.int64), score.compiled, part)
    return np.asarray(values / MAXIMUM_AFFINITY, np.float64)
