"""Follow the guide for serial sections on sections that are derived from the FIB-25 sample, and score the result.

    python benchmarks/serial_sections.py ../shared/data/fib25.zarr --folder serial_sections

Every fourth section of the sample becomes a serial section of 40 x 10 x 10 nm. Membranes are set to 0 in the first 16,
which train `configs/train_serial_sections.toml`. The other 29 are segmented by the new weights and by nano-fib25
untrained, and scored. A run that was interrupted goes on. `--iterations 4 --scored 6` takes a minute.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import zarr
from fgnet import normalise
from fgnet.weights import checkpoint_digest
from scipy import ndimage

from fgnet_pipeline.store.group_writer import write_sample
from fgnet_pipeline.training.border_shift import borders
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.train import train
from fgnet_pipeline.training.validation import plateau, predict_alone, score_affinities

Volume = np.ndarray[Any, Any]
CONFIG = Path(__file__).parents[1] / "configs" / "train_serial_sections.toml"
EVERY, TRAINED = 4, 16
VOXEL_SIZE = (40.0, 10.0, 10.0)


def sections(sample: Path) -> tuple[Volume, Volume]:
    """Raw and labels of every fourth section."""
    group: Any = zarr.open_group(str(sample), mode="r")
    raw, labels = (np.asarray(group[name][::EVERY]) for name in ("raw", "labels"))
    return raw, labels.astype(np.uint64)


def with_membranes(labels: Volume, wider: int) -> Volume:
    """Labels with membranes of 0: the voxels at a border within the section, and `wider` voxels more on either side."""
    drawn = borders(labels, isotropic=False)
    if wider:
        plane = ndimage.generate_binary_structure(3, 1)
        plane[[0, 2]] = False
        drawn = ndimage.binary_dilation(drawn, plane, iterations=wider)
    return np.where(drawn, np.uint64(0), labels)


def configuration(sample: Path, options: argparse.Namespace, shape: tuple[int, ...]) -> TrainConfig:
    """The guide's configuration with the paths, the boxes and the voxel size of these sections."""
    strip = shape[1] * 3 // 4  # the last quarter of every section is held out
    paths = {"raw": str(sample / "raw"), "labels": str(sample / "labels")}
    volumes = [{**paths, "end": [TRAINED, strip, shape[2]]}]
    held_out = [{**paths, "begin": [0, strip, 0]}]
    return TrainConfig.load(
        CONFIG,
        [
            f"data.volumes={inline(volumes)}",
            f"data.validation={inline(held_out)}",
            f"geometry.voxel_size={list(VOXEL_SIZE)}",
            f"optimise.cycles=[{options.iterations}]",
            f"output.path={options.folder / 'trained'}",
            f"output.every={options.every}",
            f"machine.threads={options.threads}",
        ],
    )


def inline(tables: list[dict[str, Any]]) -> str:
    """A list of tables as TOML in one line."""
    return "[" + ", ".join("{" + ", ".join(f"{k}={json.dumps(v)}" for k, v in t.items()) + "}" for t in tables) + "]"


def scored(checkpoint: str, raw: Volume, labels: Volume, cache: Path) -> dict[str, Any]:
    """Scores of a model on sections as a volume of their own; `cache` keeps them for the same weights and sections."""
    key = f"{checkpoint_digest(checkpoint)} {raw.shape}"
    known: dict[str, Any] = json.loads(cache.read_text()) if cache.exists() else {}
    if key not in known:
        predictor = fgnet.load_predictor(checkpoint)
        constants = normalise.constants(raw, predictor.geometry.normalisation)
        affinities = predict_alone(normalise.apply(raw, *constants), predictor.geometry, predictor)
        found: dict[str, Any] = {}
        for name, truth in (("all", labels), ("inner", with_membranes(labels, 1))):
            curve = score_affinities(affinities, truth, "sections")
            best = min(curve, key=lambda s: s.voi_sum)
            found[name] = {"best": best.to_dict(), "plateau": plateau([curve])}
        known[key] = found
        cache.write_text(json.dumps(known, indent=1))
    return dict(known[key])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path, help="Zarr group with raw and labels of the FIB-25 sample")
    parser.add_argument("--folder", type=Path, default=Path("serial_sections"), help="takes sections and weights")
    parser.add_argument("--iterations", type=int, default=1200)
    parser.add_argument("--every", type=int, default=25, help="iterations between two states to resume from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--wider", type=int, default=1, help="voxels that membranes grow on either side")
    parser.add_argument("--scored", type=int, help="sections to score, all others by default")
    options = parser.parse_args()
    raw, labels = sections(options.sample)
    sample = options.folder.resolve() / "sections.zarr"
    if not sample.exists():
        drawn = with_membranes(labels[:TRAINED], options.wider)
        write_sample(sample, raw[:TRAINED], drawn, VOXEL_SIZE, {"source": "every fourth section of FIB-25"})
    weights = train(
        configuration(sample, options, raw.shape),
        lambda step: print(f"{step.iteration + 1}: loss {step.loss:.4f}, {step.seconds:.1f} s", flush=True),
        print,
    )
    others = slice(TRAINED, None if options.scored is None else TRAINED + options.scored)
    print(f"\n{raw[others].shape[0]} sections that were not trained on; VOI in bits\n")
    print("| model | best, all voxels | segments | plateau | best, without membranes | plateau |")
    print("|---|---|---|---|---|---|")
    for name, checkpoint in (("nano-fib25 untrained", "nano-fib25"), ("fine-tuned by the guide", str(weights))):
        found = scored(checkpoint, raw[others], labels[others], options.folder / "scores.json")
        every, inner = found["all"], found["inner"]
        best, within = every["best"], inner["best"]
        print(
            f"| {name} | {best['voi_sum']:.3f} at {best['threshold']:g} | {best['segments']} | "
            f"{every['plateau'][1]:.3f} at {every['plateau'][0]:g} | {within['voi_sum']:.3f} at "
            f"{within['threshold']:g} | {inner['plateau'][1]:.3f} at {inner['plateau'][0]:g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
