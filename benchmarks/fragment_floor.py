"""Score the best agglomeration that these fragments allow: every fragment joins the label that most of it lies in.

    python benchmarks/fragment_floor.py demo/segmentation.zarr/fragments LABELS --begin 140,0,0 --end 180,250,250

The score is VOI in bits. What is left are voxels on the wrong side of a label's border, and fragments that hold two
objects; no agglomeration can repair either.
"""

from __future__ import annotations

import argparse

import numpy as np

from fgnet_pipeline.evaluation.comparison import VolumeReader, line_up
from fgnet_pipeline.evaluation.evaluate import scores_of
from fgnet_pipeline.kernels.contingency import Contingency, relabel
from fgnet_pipeline.store.volume import open_volume


def owners(table: Contingency) -> tuple[np.ndarray, np.ndarray]:
    """(fragments, rising; the label that most voxels of each carry, the smaller of two that are equal)."""
    order = np.lexsort((table.labels, -table.counts, table.segments))
    fragments, first = np.unique(table.segments[order], return_index=True)
    return fragments, table.labels[order][first]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fragments")
    parser.add_argument("labels")
    parser.add_argument("--begin")
    parser.add_argument("--end")
    arguments = parser.parse_args()
    volume = open_volume(arguments.fragments, "fragments")
    comparison = line_up(VolumeReader(volume), volume.frame, arguments.labels, arguments.begin, arguments.end)
    table = comparison.contingency()
    fragments, owner = owners(table)
    best = scores_of(relabel(table, fragments, owner))
    wrong = 1 - sum(table.counts[table.labels == owner[np.searchsorted(fragments, table.segments)]]) / table.voxels
    print(f"fragments {len(fragments)}  split {best.voi_split:.3f}  merge {best.voi_merge:.3f}  sum {best.voi_sum:.3f}")
    print(f"voxels on the wrong side {wrong:.4f}")


if __name__ == "__main__":
    main()
