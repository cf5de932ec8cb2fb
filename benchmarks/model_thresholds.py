"""Score a model over agglomeration thresholds, on crops predicted alone: how flat is the curve, does anything merge?

    python benchmarks/model_thresholds.py CHECKPOINT --data FOLDER [--threads N] [--mode exact] [--crops held,gala]

CHECKPOINT is an exported file, a shipped name, or a training state (`last.pt`, its averaged weights). FOLDER holds
fib25.zarr and gala.zarr. Each crop is normalised, predicted, cut and scored by itself; labels 0 are ignored.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from fgnet import normalise
from fgnet.config import NetworkConfig
from fgnet.geometry import Geometry, Triple
from fgnet.network import FGNet, channels_last
from fgnet.predictor import NetworkPredictor, Predictor, load_predictor
from fgnet.training.checkpoints import load_state

from fgnet_pipeline.kernels.agglomeration import agglomerate
from fgnet_pipeline.kernels.contingency import adapted_rand_error, conditional_entropies, contingency
from fgnet_pipeline.kernels.merge_tree import lut, sort_merges
from fgnet_pipeline.kernels.rag import block_edges
from fgnet_pipeline.kernels.watershed import segment_fragments

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True)
class Crop:
    """zyx box [begin, end) of a volume in the data folder."""

    volume: str
    begin: Triple
    end: Triple


CROPS = {
    "held": Crop("fib25.zarr", (140, 0, 0), (180, 250, 250)),
    "held_a": Crop("fib25.zarr", (140, 0, 0), (180, 125, 250)),
    "held_b": Crop("fib25.zarr", (140, 125, 0), (180, 250, 250)),
    "train": Crop("fib25.zarr", (0, 0, 0), (140, 250, 250)),
    "all": Crop("fib25.zarr", (0, 0, 0), (180, 250, 250)),
    "gala": Crop("gala.zarr", (0, 0, 0), (50, 100, 200)),
}


def load(checkpoint: str, mode: str, threads: int, geometry: Geometry) -> Predictor:
    """A predictor of an exported checkpoint, or of the averaged weights of a training state with `geometry`."""
    if not checkpoint.endswith(".pt"):
        return load_predictor(checkpoint, mode, threads=threads)
    state = load_state(Path(checkpoint))
    network = FGNet(NetworkConfig.from_json(state["architecture"]))
    network.load_state_dict(state["average"])
    return NetworkPredictor(channels_last(network), geometry, mode, "cpu", threads)


def predict(raw: np.ndarray, predictor: Predictor) -> np.ndarray:
    """Blended affinities uint8 (C, z, y, x) of a whole raw array."""
    g = predictor.geometry
    counts = [max(1, -(-(n - o) // s) + 1) for n, o, s in zip(raw.shape, g.output, g.stride, strict=True)]
    full = [(c - 1) * s + t for c, s, t in zip(counts, g.stride, g.tile, strict=True)]
    padding = [(m, f - m - n) for m, f, n in zip(g.margin, full, raw.shape, strict=True)]
    padded = np.pad(raw, padding, mode="symmetric")
    total = np.zeros((len(g.neighbourhood), *(f - 2 * m for f, m in zip(full, g.margin, strict=True))), np.float32)
    weight = np.zeros(total.shape[1:], np.float32)
    axes = [np.exp(-0.5 * (np.linspace(-1, 1, n) / 0.4) ** 2) for n in g.output]
    bump = (axes[0][:, None, None] * axes[1][:, None] * axes[2]).astype(np.float32)
    for index in np.ndindex(*counts):
        at = [i * s for i, s in zip(index, g.stride, strict=True)]
        tile = padded[tuple(slice(a, a + t) for a, t in zip(at, g.tile, strict=True))]
        out = tuple(slice(a, a + o) for a, o in zip(at, g.output, strict=True))
        total[(slice(None), *out)] += predictor(tile[None])[0] * bump
        weight[out] += bump
    blended = (total / weight)[(slice(None), *(slice(n) for n in raw.shape))]
    return np.round(blended * 255).astype(np.uint8)


def score(affinities: np.ndarray, labels: np.ndarray, boundary: float, distance: int) -> list[dict[str, Any]]:
    """One row a threshold; -1 stands for the fragments themselves."""
    fragments = segment_fragments(affinities, "volume", boundary_threshold=boundary, min_seed_distance=distance).astype(
        np.uint64
    )
    z, y, x = fragments.shape
    edges = block_edges(affinities, fragments, (slice(0, z), slice(0, y), slice(0, x)))
    tree = agglomerate(edges.u, edges.v, edges.sum, edges.count)
    merges = sort_merges(*tree.merges)
    ids = np.unique(fragments)
    rows = []
    for threshold in (-1.0, *THRESHOLDS):
        segments = ids if threshold < 0 else lut(ids, merges, threshold)
        segmentation = segments[np.searchsorted(ids, fragments)]
        split, merged = conditional_entropies(table := contingency(segmentation, labels))
        largest = np.unique(segmentation, return_counts=True)[1].max() / segmentation.size
        rows.append(
            {
                "threshold": threshold,
                "voi_split": split,
                "voi_merge": merged,
                "voi_sum": split + merged,
                "arand": adapted_rand_error(table),
                "segments": len(np.unique(segments)),
                "largest": float(largest),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--crops", default="held,gala")
    parser.add_argument("--mode", default="exact")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tile", type=int, default=96, help="of a training state")
    parser.add_argument("--margin", type=int, default=8)
    parser.add_argument("--stride", type=int, default=72)
    parser.add_argument("--boundary", type=float, default=0.5)
    parser.add_argument("--distance", type=int, default=3)
    parser.add_argument("--save", type=Path, help="folder for the affinities, and where they are looked for first")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cube = Geometry((options.tile,) * 3, (options.stride,) * 3, (options.margin,) * 3, (10.0,) * 3)
    predictor = load(options.checkpoint, options.mode, options.threads, cube)
    results = {}
    for name in options.crops.split(","):
        crop = CROPS[name]
        box = tuple(slice(a, b) for a, b in zip(crop.begin, crop.end, strict=True))
        raw = np.asarray(zarr.open_array(options.data / crop.volume / "raw", mode="r")[box])
        labels = np.asarray(zarr.open_array(options.data / crop.volume / "labels", mode="r")[box])
        start = time.perf_counter()
        cache = options.save / f"{name}.npy" if options.save else None
        if cache is not None and cache.exists():
            affinities = np.load(cache)
        else:
            constants = normalise.constants(raw.ravel()[::37], predictor.geometry.normalisation)
            affinities = predict(normalise.apply(raw, *constants), predictor)
            if cache is not None:
                cache.parent.mkdir(parents=True, exist_ok=True)
                np.save(cache, affinities)
        seconds = time.perf_counter() - start
        results[name] = score(affinities, labels, options.boundary, options.distance)
        print(f"\n{name} {raw.shape}: predicted in {seconds:.0f} s")
        for row in results[name]:
            print(
                "  t {threshold:5.2f}  split {voi_split:.3f}  merge {voi_merge:.3f}  sum {voi_sum:.3f}  "
                "arand {arand:.3f}  segments {segments:6d}  largest {largest:.3f}".format(**row),
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
