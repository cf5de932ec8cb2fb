"""Score a model over agglomeration thresholds, on crops that are predicted alone.

    python benchmarks/model_thresholds.py CHECKPOINT --data FOLDER --crops held,gala --mode exact --threads 1

CHECKPOINT is an exported file, a shipped name, or a training state (`last.pt`, its averaged weights). FOLDER holds
fib25.zarr and gala.zarr. Each crop is normalised, predicted, cut and scored by itself; label 0 is ignored. Each row is
one threshold: VOI in bits, split + merge = sum, and the adapted Rand error. A flat curve means that the choice of the
threshold matters little; a jump means that something merged.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from fgnet import Geometry, normalise
from fgnet.config import NetworkConfig
from fgnet.loading import load_predictor
from fgnet.network import FGNet, channels_last
from fgnet.predictor import NetworkPredictor
from fgnet.tiles import Predictor
from fgnet.training.checkpoints import load_state, sharpened
from numpy.typing import NDArray

from fgnet_pipeline.training.validation import THRESHOLDS, plateau, predict_alone, score_affinities

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Crop:
    """zyx box [begin, end) of a volume in the data folder.

    sections: cut section by section. scored: sections (begin, end) of the box that are scored, all by default.
    """

    volume: str
    begin: Triple
    end: Triple
    sections: bool = False
    scored: tuple[int, int] | None = None

    @property
    def file(self) -> str:
        """Name of the affinities: crops that differ only in what is scored share them."""
        return "_".join([self.volume, *(str(i) for i in (*self.begin, *self.end))]) + ".npy"


CROPS = {
    "held": Crop("fib25.zarr", (140, 0, 0), (180, 250, 250)),
    "held_a": Crop("fib25.zarr", (140, 0, 0), (180, 125, 250)),
    "held_b": Crop("fib25.zarr", (140, 125, 0), (180, 250, 250)),
    "train_40": Crop("fib25.zarr", (0, 0, 0), (40, 250, 250)),
    "train": Crop("fib25.zarr", (0, 0, 0), (140, 250, 250)),
    "all": Crop("fib25.zarr", (0, 0, 0), (180, 250, 250)),
    "demo": Crop("fib25.zarr", (0, 0, 0), (180, 250, 250), scored=(140, 180)),
    "trained": Crop("fib25.zarr", (0, 0, 0), (180, 250, 250), scored=(0, 140)),
    "gala": Crop("gala.zarr", (0, 0, 0), (50, 100, 200)),
    "cremi_b": Crop("cremi_b.zarr", (0, 0, 0), (5, 500, 500), sections=True),
}


def load(options: argparse.Namespace) -> Predictor:
    """A predictor of an exported checkpoint, or of the averaged weights of a training state with a cubic tile."""
    if not options.checkpoint.endswith(".pt"):
        return load_predictor(options.checkpoint, options.mode, threads=options.threads)
    state = load_state(Path(options.checkpoint))
    network = FGNet(NetworkConfig.from_json(state["architecture"]))
    network.load_state_dict(sharpened(state["average"], options.sharpness, options.shift))
    cube = Geometry((options.tile,) * 3, (options.stride,) * 3, (options.margin,) * 3, (10.0,) * 3)
    return NetworkPredictor(channels_last(network), cube, options.mode, "cpu", options.threads)


def read_array(path: Path, crop: Crop) -> NDArray[Any]:
    """The voxels of a crop of one array."""
    array: Any = zarr.open_array(path, mode="r")
    return np.asarray(array[tuple(slice(a, b) for a, b in zip(crop.begin, crop.end, strict=True))])


def read(data: Path, crop: Crop) -> tuple[NDArray[Any], NDArray[Any]]:
    """(raw, labels) of a crop; labels are 0 in sections that are not scored."""
    raw, labels = (read_array(data / crop.volume / name, crop) for name in ("raw", "labels"))
    if crop.scored is not None:
        labels[: crop.scored[0]] = 0
        labels[crop.scored[1] :] = 0
    return raw, labels


def affinities_of(raw: NDArray[Any], predictor: Predictor, cache: Path | None) -> NDArray[np.uint8]:
    """Predicted affinities, from `cache` where it exists."""
    if cache is not None and cache.exists():
        found: NDArray[np.uint8] = np.load(cache)
        return found
    constants = normalise.constants(raw.ravel()[::37], predictor.geometry.normalisation)
    affinities = predict_alone(normalise.apply(raw, *constants), predictor.geometry, predictor)
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, affinities)
    return affinities


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--crops", default="held,gala", help=", ".join(CROPS))
    parser.add_argument("--mode", default="exact")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tile", type=int, default=96, help="of a training state, like the next two")
    parser.add_argument("--margin", type=int, default=8)
    parser.add_argument("--stride", type=int, default=72)
    parser.add_argument("--sharpness", type=float, default=1.0, help="of a training state: multiplies logits")
    parser.add_argument("--shift", type=float, default=0.0, help="of a training state: subtracted from logits before")
    parser.add_argument("--boundary", type=float, default=0.5)
    parser.add_argument("--distance", type=int, default=3)
    parser.add_argument("--save", type=Path, help="folder for the affinities, and where they are looked for first")
    parser.add_argument("--json", type=Path, help="file for the rows")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    predictor = load(options)
    curves = {}
    for name in options.crops.split(","):
        raw, labels = read(options.data, CROPS[name])
        start = time.perf_counter()
        cache = options.save / CROPS[name].file if options.save else None
        affinities = affinities_of(raw, predictor, cache)
        print(f"\n{name} {raw.shape}: predicted in {time.perf_counter() - start:.0f} s")
        method = "sections" if CROPS[name].sections else "volume"
        curves[name] = score_affinities(
            affinities, labels, method, options.boundary, options.distance, (*THRESHOLDS, 1.0)
        )
        for s in curves[name]:
            print(
                f"  t {s.threshold:5.2f}  split {s.voi_split:.3f}  merge {s.voi_merge:.3f}  sum {s.voi_sum:.3f}  "
                f"arand {s.arand:.3f}  segments {s.segments:6d}  largest {s.largest:.3f}",
                flush=True,
            )
    threshold, value = plateau(list(curves.values()))
    print(f"\nplateau over {', '.join(curves)}: threshold {threshold}, mean VOI sum {value:.3f}")
    if options.json:
        rows = {name: [s.to_dict() for s in curve] for name, curve in curves.items()}
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
