"""Measure what cutting the volume into blocks costs: VOI of blockwise segmentations and of one single block.

    python benchmarks/blocks_vs_whole.py demo/segmentation.zarr/affinities ../shared/data/fib25.zarr/labels

Every row segments the same affinities with the whole pipeline, from fragments to relabelling, and scores the result
against the labels: VOI in bits. A blockwise row that is higher than the row of one block is the loss by cutting.
--context and --threshold may be repeated.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from fgnet_pipeline.evaluation.comparison import compare
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.registry import stages_after

WHOLE = (192, 256, 256)


def score(arguments: argparse.Namespace, block: tuple[int, ...], context: int, folder: Path) -> None:
    """Segment with one block shape and print a row for every threshold."""
    for threshold in arguments.threshold:
        config = {
            "volume": {"voxel_size": [10, 10, 10]},
            "affinities": {"path": arguments.affinities},
            "output": {"path": str(folder)},
            "fragments": {"context": [context] * 3, "min_seed_distance": arguments.min_seed_distance},
            "agglomerate": {"threshold": threshold},
            "schedule": {"block_shape": list(block), "workers": arguments.workers},
        }
        job = run(validate(config), stages_after("predict"))
        count = job.plan.blocks("fragments").size
        for begin, end in arguments.crop or [(None, None)]:
            s = compare(str(folder / "segmentation"), arguments.labels, begin, end)
            print(
                f"{count:4d} blocks, context {context:2d}, threshold {threshold:.2f}, {begin or 'all':>9s}: "
                f"split {s.voi_split:.3f} merge {s.voi_merge:.3f} sum {s.voi_sum:.3f} rand {s.adapted_rand_error:.3f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("affinities")
    parser.add_argument("labels")
    parser.add_argument("--block", type=int, nargs=3, default=(60, 84, 84))
    parser.add_argument("--context", type=int, action="append")
    parser.add_argument("--threshold", type=float, action="append")
    parser.add_argument("--crop", nargs=2, action="append", metavar=("BEGIN", "END"))
    parser.add_argument("--min-seed-distance", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.threshold = arguments.threshold or [0.5]
    with tempfile.TemporaryDirectory() as folder:
        for context in arguments.context or [16]:
            score(arguments, tuple(arguments.block), context, Path(folder) / f"blocks-{context}")
        score(arguments, WHOLE, 0, Path(folder) / "whole")


if __name__ == "__main__":
    main()
