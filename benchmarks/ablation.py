"""Compare the ways in which guides enter the network, at the same small budget and with several seeds.

    python benchmarks/ablation.py --data ../shared/data/fib25.zarr --out runs/ablation
    python benchmarks/ablation.py --out runs/ablation --table

A cell is one variant and one seed. `nano` with that guidance is trained on the first sections; the agglomeration
threshold is chosen on sections that were trained on (--choose) and scored on sections that were not (--score). All
cells have the same iterations, patches and draws, which follow from the seed alone. Two more variants begin with the
section encoder of other weights (--encoder): `frozen` does not train it, `fine_tuned` does. `unet` and `unet_small` put
a plain 3D U-Net (plain_unet.py) in FGNet's place; give them the iterations that take as long.

The table has one row per variant, mean and deviation over the seeds: VOI (bits, split + merge = sum), adapted Rand
error, the lowest VOI on the curve over thresholds, the mean of the last losses, and seconds of processor time to train.

A finished cell is a line of OUT/cells.jsonl. A line with the same settings is not computed again; an interrupted cell
goes on from its last state. --minutes ends the benchmark in time.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from fgnet import Geometry, normalise
from fgnet.config import GUIDANCE, NetworkConfig, preset
from fgnet.network import FGNet
from fgnet.predictor import NetworkPredictor
from fgnet.tensors import read_weights
from fgnet.training.loop import Step, Trainer, run
from fgnet.training.patch import LabelledVolume
from fgnet.training.settings import AugmentSettings, LoopSettings, Phase, WarpSettings
from fgnet.weights import locate
from plain_unet import PlainPredictor, PlainUNet

from fgnet_pipeline.training.validation import Score, plateau, predict_alone, score_affinities

ENCODERS = ("frozen", "fine_tuned")
#: Widths of the plain U-Net: about 1 and .1 MFLOP a voxel.
UNETS = {"unet": 48, "unet_small": 16}
VARIANTS = (*GUIDANCE, *ENCODERS, *UNETS)
#: Thin tiles: forty sections are one tile deep.
GEOMETRY = Geometry((48, 96, 96), (40, 72, 72), (4, 12, 12), (10.0, 10.0, 10.0), architecture="nano")


class TimeUpError(Exception):
    """The minutes that were given are over."""


def read(data: Path, begin: int, end: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(normalised raw, labels) of the sections begin..end - 1; the constants are those of the whole volume."""
    arrays: list[Any] = [zarr.open_array(data / name, mode="r") for name in ("raw", "labels")]
    constants = normalise.constants(np.asarray(arrays[0][:]).ravel()[::37])
    raw = normalise.apply(np.asarray(arrays[0][begin:end]), *constants)
    return raw, np.asarray(arrays[1][begin:end]).astype(np.int32)


def settings_of(options: argparse.Namespace, variant: str, seed: int) -> LoopSettings:
    """The budget, equal for all variants. Without warp: at a small budget it only blurs."""
    return LoopSettings(
        cycles=(options.iterations,),
        phases=(Phase(0, tuple(options.patch), options.batch),),
        learning_rate=options.rate,
        warm_up=max(1, options.iterations // 8),
        auxiliary_weight=0.25,
        seed=seed,
        freeze_encoder=variant == "frozen",
        augment=AugmentSettings(warp=WarpSettings(probability=0.0)),
    )


def architecture(variant: str) -> NetworkConfig:
    """`nano` with the guidance of a variant (fga for those of the encoder)."""
    return dataclasses.replace(preset("nano"), guidance=variant if variant in GUIDANCE else "fga")


def load_encoder(trainer: Trainer, checkpoint: str) -> None:
    """Take the section encoder of other weights of the same architecture; everything else stays random."""
    prefix = "encoder."
    weights = {k: v.float() for k, v in read_weights(locate(checkpoint)).items() if k.startswith(prefix)}
    trainer.network.encoder.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items()})
    trainer.reset_average()


def identity(options: argparse.Namespace, variant: str, seed: int) -> dict[str, Any]:
    """What a finished line must agree in to stand for this cell."""
    named = {"variant": variant, "seed": seed, "encoder": options.encoder if variant in ENCODERS else None}
    budget = {"iterations": options.iterations, "patch": list(options.patch), "batch": options.batch}
    sections = {"train": options.train, "choose": options.choose, "score": options.score}
    return named | budget | {"rate": options.rate} | sections


def score_sections(
    trainer: Trainer, data: Path, begin: int, end: int, edge: int | None, mode: str = "fast"
) -> list[Score]:
    """The curve over thresholds of sections predicted by themselves, within the first `edge` rows and columns."""
    raw, labels = (a[:, :edge, :edge] for a in read(data, begin, end))
    network: Any = trainer.averaged_network()
    is_plain = isinstance(network, PlainUNet)
    predictor = PlainPredictor(network, GEOMETRY) if is_plain else NetworkPredictor(network, GEOMETRY, mode, "cpu", 1)
    return score_affinities(predict_alone(raw, GEOMETRY, predictor), labels, min_seed_distance=6)


def cell(options: argparse.Namespace, variant: str, seed: int, end_time: float) -> dict[str, Any]:
    """Train and score one cell."""
    raw, labels = (torch.from_numpy(a) for a in read(options.data, *options.train))
    volumes = [LabelledVolume(raw, labels)]
    build: Any = partial(PlainUNet, width=UNETS[variant]) if variant in UNETS else FGNet
    trainer = Trainer(architecture(variant), settings_of(options, variant, seed), volumes, build=build)
    if variant in ENCODERS:
        load_encoder(trainer, options.encoder)
    losses: list[float] = []

    def watch(step: Step) -> None:
        losses.append(step.loss)
        if time.monotonic() > end_time:
            raise TimeUpError

    started = time.process_time()
    run(trainer, options.out / f"{variant}-{seed}-{options.iterations}", options.every, watch)
    trained = time.process_time() - started
    threshold, _ = plateau([score_sections(trainer, options.data, *options.choose, options.edge)])
    curve = score_sections(trainer, options.data, *options.score, options.edge)
    chosen = next(s for s in curve if s.threshold == threshold)
    trainable = sum(p.numel() for p in trainer.network.parameters() if p.requires_grad)
    return {
        **identity(options, variant, seed),
        "edge": options.edge,
        "trained_parameters": trainable,
        "cpu_seconds_of_this_process": round(trained, 1),
        "last_losses": round(float(np.mean(losses[-20:])), 4) if losses else None,
        "lowest_voi_sum": min(s.voi_sum for s in curve),
        **chosen.to_dict(),
    }


def finished(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file; a torn one is left out."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


def cells(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Seed by seed, so that an unfinished benchmark compares all variants."""
    for seed in options.seeds:
        for variant in options.variants:
            yield variant, seed


def chance(data: Path, sections: Sequence[int], edge: int | None) -> Score:
    """What no segmentation at all scores: everything is one segment."""
    labels = read(data, *sections)[1][:, :edge, :edge]
    whole = np.full((3, *labels.shape), 255, np.uint8)
    return score_affinities(whole, labels, thresholds=(0.5,))[0]


def print_table(lines: list[dict[str, Any]]) -> None:
    """Mean and deviation over seeds, a row a variant, an own table for every budget."""
    budgets = sorted({_budget(x) for x in lines})
    for budget in budgets:
        iterations, batch, *patch = budget
        print(f"\n{iterations} iterations, {batch} patches of {'x'.join(map(str, patch))} each")
        for variant in VARIANTS:
            rows = [x for x in lines if x["variant"] == variant and _budget(x) == budget]
            if rows:
                print("| " + " | ".join([variant, str(len(rows)), *(_spread(rows, n) for n in COLUMNS)]) + " |")


def _budget(line: dict[str, Any]) -> tuple[int, ...]:
    return line["iterations"], line["batch"], *line["patch"]


COLUMNS = ("voi_split", "voi_merge", "voi_sum", "arand", "lowest_voi_sum", "last_losses", "cpu_seconds_of_this_process")


def _spread(rows: list[dict[str, Any]], name: str) -> str:
    values = [r[name] for r in rows if r[name] is not None]
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}" if values else "-"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the group that holds raw and labels")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 64, 64))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--every", type=int, default=50, help="iterations between two states")
    parser.add_argument("--train", type=int, nargs=2, default=[0, 140], help="sections")
    parser.add_argument("--choose", type=int, nargs=2, default=[0, 140], help="sections that choose the threshold")
    parser.add_argument("--score", type=int, nargs=2, default=[140, 180], help="sections")
    parser.add_argument("--edge", type=int, help="choose and score in the first rows and columns only")
    parser.add_argument("--encoder", default="nano-fib25", help="weights of `frozen` and `fine_tuned`")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    path = options.out / "cells.jsonl"
    if options.table:
        print_table(finished(path))
        return
    end_time = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    nothing = chance(options.data, options.score, options.edge)
    print(f"one segment for everything: VOI {nothing.voi_sum:.3f}, Rand {nothing.arand:.3f}", flush=True)
    for variant, seed in cells(options):
        wanted = identity(options, variant, seed)
        if any(wanted.items() <= line.items() for line in finished(path)):
            continue
        try:
            line = cell(options, variant, seed, end_time)
        except TimeUpError:
            print("time is up: run the same command again to go on")
            break
        with open(path, "a") as file:
            file.write("\n" + json.dumps(line) + "\n")  # a torn line before it stays alone
        print(json.dumps(line), flush=True)
    print_table(finished(path))


if __name__ == "__main__":
    main()
