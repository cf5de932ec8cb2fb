"""Compare the memory of one block of every stage, as a trial measures it, with the formula of `fgnet plan`.

    python benchmarks/block_memory.py --blocks 48 96

The input is generated: cells, and affinities made from them (`affinities.path`). With --predict the identity network
predicts them; its own memory is next to nothing. Each row has the bytes that the trial measured and the bytes that the
formula gives. The formula should be above the measurement, and not by much.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import zarr

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.datasets.phantom import Phantom, generate
from fgnet_pipeline.planning.estimate import estimate
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.registry import stages


def configured(folder: Path, block: int, predict: bool) -> Config:
    """Two blocks along every axis."""
    raw, _ = generate(Phantom(shape=(2 * block,) * 3))
    data = raw if predict else np.stack([raw] * 3)
    array = zarr.create_array(
        str(folder / "data"), shape=data.shape, dtype="uint8", chunks=(*data.shape[:-3], 48, 48, 48)
    )
    array[:] = data
    array.attrs.update(voxel_size=[10, 10, 10], offset=[0, 0, 0])
    given = {"volume": {"path": str(folder / "data")}, "model": {"checkpoint": "identity"}}
    tables = given if predict else {"affinities": {"path": str(folder / "data")}}
    return validate(tables | {"output": {"path": str(folder / "out")}, "schedule": {"block_shape": [block] * 3}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[48, 96])
    parser.add_argument("--predict", action="store_true")
    arguments = parser.parse_args()
    for block in arguments.blocks:
        with tempfile.TemporaryDirectory() as name:
            config = configured(Path(name), block, arguments.predict)
            formula = {stage.task: stage.memory_bytes / 2**20 for stage in estimate(config).stages}
            for stage in estimate(config, trial=True).stages:
                if stages()[stage.stage].by_voxel:
                    measured = stage.memory_bytes / 2**20
                    print(f"{stage.task:10s} {block} voxels: measured {measured:.0f} MiB, formula "
                          f"{formula[stage.task]:.0f} MiB, {formula[stage.task] / measured:.2f} x")  # fmt: skip


if __name__ == "__main__":
    main()
