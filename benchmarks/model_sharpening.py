"""Choose sharpness, shift and seed distance of a training state: scores over thresholds for each combination.

    python benchmarks/model_sharpening.py runs/NAME/last.pt --data FOLDER --save runs/NAME_affinities

The averaged weights predict each crop once. Then sharpness * (logit - shift) is applied to the stored uint8 affinities;
apart from rounding and blending, `[export]` of a training configuration does this to the weights. One line per
combination: the plateau of the crops' curves (see `fgnet_pipeline.training.validation.plateau`), and the score of each
crop there, VOI in bits.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from model_thresholds import CROPS, affinities_of, load, read
from numpy.typing import NDArray

from fgnet_pipeline.training.validation import THRESHOLDS, Score, plateau, score_affinities

SETS = ("held", "demo", "trained", "gala")
ALMOST = 0.002


def sharpen_table(sharpness: float, shift: float) -> NDArray[np.uint8]:
    """uint8 (256,): what becomes of each stored affinity."""
    probability = np.clip(np.arange(256) / 255, ALMOST / 2, 1 - ALMOST / 2)
    logits = np.log(probability / (1 - probability))
    table: NDArray[np.uint8] = np.round(255 / (1 + np.exp(-sharpness * (logits - shift)))).astype(np.uint8)
    return table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--save", type=Path, required=True, help="folder for the affinities")
    parser.add_argument("--crops", default=",".join(SETS))
    parser.add_argument("--sharpness", type=float, nargs="+", default=[1.0, 1.5, 2.0])
    parser.add_argument("--shift", type=float, nargs="+", default=[0.0, 1.0, 2.0, 3.0])
    parser.add_argument("--distance", type=int, nargs="+", default=[6])
    parser.add_argument("--boundary", type=float, nargs="+", default=[0.5])
    options = parser.parse_args()
    for name, value in (("mode", "exact"), ("threads", 1), ("tile", 96), ("margin", 8), ("stride", 72)):
        setattr(options, name, value)
    return options


def read_sets(options: argparse.Namespace) -> dict[str, tuple[NDArray[np.uint8], NDArray[Any]]]:
    """(affinities, labels) of every crop, predicted with the weights as trained."""
    plain = argparse.Namespace(**{**vars(options), "sharpness": 1.0, "shift": 0.0})
    predictor = load(plain)
    sets = {}
    for name in options.crops.split(","):
        raw, labels = read(options.data, CROPS[name])
        sets[name] = affinities_of(raw, predictor, options.save / CROPS[name].file), labels
    return sets


def line(name: str, curve: list[Score], threshold: float) -> str:
    """One crop at the plateau, and the lowest point of its curve."""
    here = next(s for s in curve if s.threshold == threshold)
    best = min(curve, key=lambda s: s.voi_sum)
    return (
        f"{name} {here.voi_split:.2f}+{here.voi_merge:.2f}={here.voi_sum:.3f} largest {here.largest:.2f} "
        f"(lowest {best.voi_sum:.3f} at {best.threshold})"
    )


def main() -> None:
    options = arguments()
    sets = read_sets(options)
    grid = itertools.product(options.sharpness, options.shift, options.distance, options.boundary)
    for sharpness, shift, distance, boundary in grid:
        table = sharpen_table(sharpness, shift)
        curves = {
            name: score_affinities(table[affinities], labels, "volume", boundary, distance, THRESHOLDS)
            for name, (affinities, labels) in sets.items()
        }
        threshold, mean = plateau(list(curves.values()))
        each = " | ".join(line(name, curve, threshold) for name, curve in curves.items())
        print(f"sharpness {sharpness} shift {shift} distance {distance} boundary {boundary}: ", end="")
        print(f"threshold {threshold} mean {mean:.3f} | {each}", flush=True)


if __name__ == "__main__":
    main()
