"""GPU-hours and energy of the affinities of large volumes, by the rates that `fgnet plan --gpu` takes.

    python benchmarks/gpu_hours.py --gpu H200

Calculated, not run: voxels divided by the measured rate of tiles. A voxel of the volume is one byte. Models and modes
that were not measured on this GPU have no row. If none was measured, the exit code is 2.
"""

from __future__ import annotations

import argparse
import sys

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.planning.gpu_rates import estimate_gpus, gpu_rate

VOLUMES = {"1 TB": 1e12, "100 TB": 1e14, "1 PB": 1e15}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", default="H200")
    gpu = parser.parse_args().gpu
    rates, refusal = [], ""
    for model in ("nano", "tiny", "large"):
        for mode in ("exact", "fast"):
            try:
                rates.append(gpu_rate(gpu, model, mode))
            except InputError as error:  # not measured on this model of GPU
                refusal = str(error)
    if not rates:
        print(refusal, file=sys.stderr)
        sys.exit(2)
    print(f"| model | mode | Mvoxel/s | {' | '.join(VOLUMES)} |\n|---|---|---|{'---|' * len(VOLUMES)}")
    for rate in rates:
        found = [estimate_gpus(rate, voxels / rate.voxels_per_second, 1, None) for voxels in VOLUMES.values()]
        cells = [f"{e.gpu_hours:,.0f} GPU-hours" + ("" if e.kwh is None else f", {e.kwh:,.0f} kWh") for e in found]
        print(f"| `{rate.architecture}` | `{rate.mode}` | {rate.voxels_per_second / 1e6:g} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
