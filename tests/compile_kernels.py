"""Compile the kernels that most tests call: once, before processes that run side by side would all compile them.

`make test` runs this file. A kernel that it leaves out is compiled by the first test that calls it.
"""

from __future__ import annotations

import numpy as np

import fgnet_pipeline.execution.processes.preload  # it runs the kernels of a run with default settings
import fgnet_pipeline.execution.processes.preload_predict  # noqa: F401 - and those of a network on a CPU
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.scores.score import scores
from fgnet_pipeline.kernels.cells import graph_of, nodes_of
from fgnet_pipeline.kernels.contingency import contingency
from fgnet_pipeline.kernels.fragments.method import segment_fragments
from fgnet_pipeline.kernels.tree import tree_of


def compile_kernels() -> None:
    """Run kernels on data of the types that stages give them."""
    one = np.ones(1, np.uint64)
    histogram = np.zeros((1, 256), np.uint32)
    histogram[0, 7] = 4
    quantile = scores()["quantile"]
    agglomerate(one, 2 * one, 28 * one, 4 * one, widest=0)
    agglomerate(one, 2 * one, 28 * one, 4 * one, histogram=histogram, score=quantile, part=(1, 2))
    segment_fragments(np.full((3, 4, 8, 8), 255, np.uint8), "sections")
    contingency(np.ones(8, np.uint64), np.ones(8, np.uint64))
    solid = Box((0, 0, 0), (24, 24, 24))
    nodes = nodes_of(np.ones(solid.shape, np.uint32), (0, 0, 0), solid, (10.0, 10.0, 10.0))
    tree_of(graph_of(nodes, (10.0, 10.0, 10.0)), (10.0, 10.0, 10.0))


if __name__ == "__main__":
    compile_kernels()
