"""Score the shipped weights on tissue and contrast that they never saw, without fine-tuning.

    python benchmarks/domain_shift.py configs/fib25_nano.toml --data ../shared/data

Each volume goes through the whole pipeline with the shipped configuration, threshold included. If its voxel size does
not fit the model, `model.any_voxel_size` is set, and nothing else. The scores are VOI in bits and the adapted Rand
error. Beside them are the scores at the best of --thresholds, which only somebody with labels can know.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from fgnet_pipeline.evaluation.comparison import UNPLACED, compare
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after
from fgnet_pipeline.store.volume import open_volume

VOLUMES = ("fib25", "gala", "cremi_b")
TRAINED_UNTIL = {"fib25": "140,0,0"}


def overrides(options: argparse.Namespace, name: str, folder: Path) -> list[str]:
    """What is set: where the data lie, and that the voxel size may differ where it does."""
    group = options.data / f"{name}.zarr"
    frame = open_volume(str(group / "raw"), "--data").frame or UNPLACED
    other = any(abs(size / 10 - 1) > 0.2 for size in frame.voxel_size)
    allowed = ["model.any_voxel_size=true"] if other else []
    places = [f"volume.path={group / 'raw'}", f"output.path={folder / name}.zarr"]
    return [*places, *allowed, f"schedule.workers={options.workers}", *options.set]


def scores(options: argparse.Namespace, name: str, folder: Path) -> list[dict[str, Any]]:
    """A row for the shipped threshold, then one for each of --thresholds."""
    settings = overrides(options, name, folder)
    rows = []
    run(load_config(options.config, settings))
    shipped = load_config(options.config, settings).agglomerate.threshold
    for threshold in (shipped, *options.thresholds):
        if rows:
            run(load_config(options.config, [*settings, f"agglomerate.threshold={threshold}"]), stages_after("predict"))
        labels = str(options.data / f"{name}.zarr" / "labels")
        found = compare(str(folder / f"{name}.zarr" / "segmentation"), labels, TRAINED_UNTIL.get(name), None)
        rows.append({"volume": name, "threshold": threshold, **found.to_dict()})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--data", type=Path, required=True, help="folder of fib25.zarr, gala.zarr and cremi_b.zarr")
    parser.add_argument("--volumes", nargs="+", default=VOLUMES[1:], choices=VOLUMES)
    parser.add_argument("--thresholds", type=float, nargs="*", default=(0.05, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="section.key=value, as for `fgnet run`")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    everything = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.volumes:
            rows = scores(options, name, Path(folder))
            everything += rows
            best = min(rows, key=lambda r: r["voi_sum"])
            for label, row in (("shipped", rows[0]), ("best", best)):
                print(
                    f"{name:8s} {label:7s} threshold {row['threshold']:.2f}: VOI {row['voi_split']:.3f} + "
                    f"{row['voi_merge']:.3f} = {row['voi_sum']:.3f}, Rand {row['adapted_rand_error']:.3f}",
                    flush=True,
                )
            if options.json:
                options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
