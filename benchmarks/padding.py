"""Measure how much padding spoils the segmentation of the tissue beside it.

    python benchmarks/padding.py ../shared/data/fib25.zarr --begin 140 --end 180

One half of a slab is set to 0, 128 or 255, and the whole slab is segmented by the shipped model, or by `--checkpoint`.
The other half is scored: pieces of a segment that are not connected inside this half are segments of their own. It is
compared with the worse of two: the same half beside its tissue, and the same half as a volume of its own. All four
halves along y and x; VOI in bits, mean over thresholds .1, .15, ... .4. `--implementation 1` shows padding to the
network as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import zarr

from fgnet_pipeline.core.geometry import vector, whole
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut, sort_merges
from fgnet_pipeline.kernels.contingency import conditional_entropies, contingency
from fgnet_pipeline.kernels.fragments.method import segment_fragments
from fgnet_pipeline.kernels.padding import void_of, without_padding
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.stages.tile_network import TileNetwork, padding_runs
from fgnet_pipeline.store.input_identity import sample
from fgnet_pipeline.training.validation import predict_alone

Volume = np.ndarray[Any, Any]
THRESHOLDS = [round(0.1 + 0.05 * i, 2) for i in range(7)]


def predicted(raw: Volume, implementation: int, checkpoint: str) -> Volume:
    """Affinities uint8 (3, z, y, x) of an array as a whole volume."""
    predictor = fgnet.load_predictor(checkpoint)
    geometry = predictor.geometry
    samples = sample(vector(raw.shape), lambda box: raw[box.slices()], "raw")
    kept = without_padding(samples) if implementation >= 2 else samples
    constants = fgnet.normalise.constants(kept, geometry.normalisation)
    runs = padding_runs(implementation, vector(geometry.margin))
    network = TileNetwork(predictor, lambda tiles: fgnet.normalise.apply(tiles, *constants), geometry.margin, 3, runs)
    return predict_alone(raw, geometry, network)


def scores(affinities: Volume, labels: Volume, half: tuple[slice, ...]) -> list[float]:
    """VOI of the labels of `half` at each threshold, with pieces counted inside the half."""
    fragments = segment_fragments(affinities, "volume", boundary_threshold=0.5, min_seed_distance=6).astype(np.uint64)
    fragments[void_of(affinities)] = 0
    edges = block_edges(affinities, fragments, whole(vector(fragments.shape)).slices())
    merges = sort_merges(*agglomerate(edges.u, edges.v, edges.sum, edges.count).merges)
    ids, fragment_of = np.unique(fragments, return_inverse=True)
    found = []
    for threshold in THRESHOLDS:
        segmentation = lut(ids, merges, threshold)[fragment_of].reshape(fragments.shape)[half]
        found.append(sum(conditional_entropies(contingency(pieces(segmentation), labels))))
    return found


def pieces(segmentation: Volume) -> Volume:
    """Connected components (six neighbours) of every segment."""
    from skimage.measure import label

    return label(segmentation, connectivity=1, background=0).astype(np.uint64)


def halves(shape: tuple[int, ...]) -> dict[str, tuple[slice, ...]]:
    """The four halves of a slab along y and x."""
    _, y, x = shape
    every = slice(None)
    return {
        "y low": (every, slice(0, y // 2), every), "y high": (every, slice(y // 2, y), every),
        "x low": (every, every, slice(0, x // 2)), "x high": (every, every, slice(x // 2, x)),
    }  # fmt: skip


def measure(raw: Volume, labels: Volume, options: argparse.Namespace) -> None:
    implementation, checkpoint, fills = options.implementation, options.checkpoint, options.fills
    every = (slice(None),) * 3
    beside = predicted(raw, implementation, checkpoint)
    rows: dict[str, list[float]] = {}
    for name, half in halves(raw.shape).items():
        truth = labels[half]
        known = [float(np.mean(scores(beside, truth, half)))]
        known.append(float(np.mean(scores(predicted(raw[half].copy(), implementation, checkpoint), truth, every))))
        row = [*known]
        for value in fills:
            padded = np.full_like(raw, value)
            padded[half] = raw[half]
            row.append(float(np.mean(scores(predicted(padded, implementation, checkpoint), truth, half))))
        rows[name] = row
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in row) + " |", flush=True)
    mean = np.mean(list(rows.values()), axis=0)
    print("| mean | " + " | ".join(f"{v:.3f}" for v in mean) + " |")
    worse = np.maximum(*np.array(list(rows.values()))[:, :2].T).mean()
    for value, found in zip(fills, mean[2:], strict=True):
        print(f"filled with {value}: {found - worse:+.3f} bit against the worse of the two ({worse:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path, help="Zarr group with raw and labels")
    parser.add_argument("--begin", type=int, default=140, help="first section")
    parser.add_argument("--end", type=int, default=180, help="section after the last one")
    parser.add_argument("--checkpoint", default="nano-fib25", help="weights, a shipped name or a path")
    parser.add_argument("--implementation", type=int, default=2, choices=(1, 2))
    parser.add_argument("--fills", type=int, nargs="+", default=[0, 128, 255], metavar="VALUE")
    options = parser.parse_args()
    group: Any = zarr.open_group(str(options.sample), mode="r")
    raw, labels = (np.asarray(group[name][options.begin : options.end]) for name in ("raw", "labels"))
    print("| half | beside its tissue | a volume of its own | " + " | ".join(map(str, options.fills)) + " |")
    print("|---|" + "---|" * (2 + len(options.fills)))
    measure(raw, labels, options)


if __name__ == "__main__":
    main()
