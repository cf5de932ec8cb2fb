"""What cutting the fragments at block faces costs, by context: the variation of information against a single block.

    python benchmarks/kernel_seams.py --labels fib25.zarr --block 60 84 84 --context 0 8 16 24 32
    python benchmarks/kernel_seams.py --affinities OUT.zarr

Fragments are made block by block with context, cropped and relabelled; edges and agglomeration are those of the whole.
Input as for kernel_watershed.py. Bits, split and merge, of the blockwise segmentation against that of one block.
"""

import argparse
import json
from itertools import product

import numpy as np
from kernel_watershed import Affinities, given_affinities
from numpy.typing import NDArray

from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut
from fgnet_pipeline.kernels.contingency import conditional_entropies, contingency
from fgnet_pipeline.kernels.fragments.components import relabel_components
from fgnet_pipeline.kernels.fragments.method import segment_fragments
from fgnet_pipeline.kernels.region_graph import block_edges

Ids = NDArray[np.uint64]


def blockwise_fragments(affinities: Affinities, block: tuple[int, ...], context: int) -> Ids:
    """Dense ids 1.. of the fragments of all blocks, uint64 (z, y, x)."""
    shape = affinities.shape[1:]
    out, last = np.zeros(shape, np.uint64), 0
    for begin in product(*(range(0, n, b) for n, b in zip(shape, block, strict=True))):
        end = [min(i + b, n) for i, b, n in zip(begin, block, shape, strict=True)]
        low = [max(i - context, 0) for i in begin]
        read = tuple(slice(i, e + context) for i, e in zip(low, end, strict=True))
        core = tuple(slice(b - i, e - i) for b, e, i in zip(begin, end, low, strict=True))
        labels, n = relabel_components(segment_fragments(affinities[(slice(None), *read)], "volume")[core])
        out[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))] = labels.astype(np.uint64) + np.uint64(last)
        last += n
    return out


def segmentations(affinities: Affinities, fragments: Ids, thresholds: list[float]) -> list[Ids]:
    edges = block_edges(affinities, fragments, (slice(None), slice(None), slice(None)))
    merges = agglomerate(edges.u, edges.v, edges.sum, edges.count).merges
    ids = np.arange(fragments.max() + np.uint64(1), dtype=np.uint64)
    return [lut(ids, merges, t)[fragments.astype(np.int64)] for t in thresholds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels")
    parser.add_argument("--affinities")
    parser.add_argument("--shape", type=int, nargs=3, default=(120, 168, 168))
    parser.add_argument("--block", type=int, nargs=3, default=(40, 56, 56))
    parser.add_argument("--context", type=int, nargs="+", default=[0, 8, 16, 24, 32])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.4, 0.5, 0.6])
    arguments = parser.parse_args()
    affinities = given_affinities(arguments.affinities, arguments.labels, tuple(arguments.shape))
    whole = segmentations(affinities, blockwise_fragments(affinities, affinities.shape[1:], 0), arguments.thresholds)
    for context in arguments.context:
        cut = segmentations(
            affinities, blockwise_fragments(affinities, tuple(arguments.block), context), arguments.thresholds
        )
        for threshold, one, other in zip(arguments.thresholds, whole, cut, strict=True):
            split, merge = conditional_entropies(contingency(other, one))
            row = {"context": context, "threshold": threshold, "split": round(split, 4), "merge": round(merge, 4)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
