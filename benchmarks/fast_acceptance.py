"""Compare the scores of the modes of inference, VOI and adapted Rand error, through the whole pipeline.

    python benchmarks/fast_acceptance.py configs/fib25_nano.toml --data ../shared/data/fib25.zarr

Every mode segments the whole sample with the shipped configuration, threshold included, and is scored on the sections
that were not trained on (or --begin to --end). A mode is accepted if both scores are within .01 of those of
`reference`, better or worse. At one threshold on few sections a single join decides; "curve" is the mean over
--thresholds of the same output, which is steadier.
Prediction takes one block, so that no tile is computed twice; affinities do not depend on blocks. With --folder an
interrupted benchmark goes on block by block.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from fgnet.weights import MODES

from fgnet_pipeline.evaluation.comparison import compare
from fgnet_pipeline.evaluation.sweep import sweep
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

LIMIT = 0.01
SCORES = ("voi_sum", "adapted_rand_error")
ONE_BLOCK = "schedule.predict.block_shape=[288,288,288]"


def score(options: argparse.Namespace, mode: str, folder: Path) -> dict[str, Any]:
    """Segment the sample in one mode and compare it with the labels."""
    out = folder / f"{mode}.zarr"
    overrides = [f"volume.path={options.data / 'raw'}", f"output.path={out}", f"model.mode={mode}", ONE_BLOCK]
    config = load_config(options.config, [*overrides, f"schedule.workers={options.workers}", *options.set])
    run(config)
    labels = str(options.data / "labels")
    scores = compare(str(out / "segmentation"), labels, options.begin, options.end)
    curve = sweep(config, labels, options.thresholds, options.begin, options.end)[1].curve
    means = {f"curve_{name}": fmean(getattr(point, name) for point in curve) for name in SCORES}
    return {"mode": mode, **scores.to_dict(), **means}


def accept(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """The row with its distance from `reference`, and whether both distances are small enough."""
    distances = {name: row[name] - reference[name] for name in (*SCORES, *(f"curve_{name}" for name in SCORES))}
    return {**row, "distances": distances, "accepted": all(abs(distances[name]) <= LIMIT for name in SCORES)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--data", type=Path, required=True, help="the group that holds raw and labels")
    parser.add_argument("--modes", default=",".join(MODES), help="the first one is what the others are held against")
    parser.add_argument("--begin", default="140,0,0", help="first voxel scored")
    parser.add_argument("--end", default="180,250,250", help="voxel after the last one scored")
    parser.add_argument("--thresholds", type=float, nargs="+", default=(0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="section.key=value, as for `fgnet run`")
    parser.add_argument("--folder", type=Path, help="where the outputs stay")
    parser.add_argument("--json", type=Path, help="file for the rows")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for mode in options.modes.split(","):
            row = score(options, mode, options.folder or Path(temporary))
            rows.append(accept(row, rows[0] if rows else row))
            r = rows[-1]
            print(
                f"{mode:9s}  VOI {r['voi_split']:.4f} + {r['voi_merge']:.4f} = {r['voi_sum']:.4f} "
                f"({r['distances']['voi_sum']:+.4f})  Rand {r['adapted_rand_error']:.4f} "
                f"({r['distances']['adapted_rand_error']:+.4f})  {'accepted' if r['accepted'] else 'not accepted'}"
                f"  curve: VOI {r['curve_voi_sum']:.4f} ({r['distances']['curve_voi_sum']:+.4f})  "
                f"Rand {r['curve_adapted_rand_error']:.4f} ({r['distances']['curve_adapted_rand_error']:+.4f})",
                flush=True,
            )
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
