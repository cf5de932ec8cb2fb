"""Measure time and memory of `fgnet plan` for a volume of ten million blocks.

    python benchmarks/plan_huge.py
    python benchmarks/plan_huge.py --mask       # with a ball of tissue, 128 times coarser

The raw volume of 73 728 voxels per axis (400 TB) is metadata only: chunks that do not exist take no space. The script
prints how many blocks the first stage has and how many are empty, and wall time, processor time and peak memory of the
command.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

SIDE, BLOCK, COARSER = 73728, 340, 128


def write_inputs(folder: Path, mask: bool) -> None:
    """A raw volume with one chunk, a mask, and the configuration."""
    raw = zarr.create_array(str(folder / "raw"), shape=(SIDE,) * 3, dtype="uint8", chunks=(128,) * 3)
    raw.attrs.update(voxel_size=[8, 8, 8], offset=[0, 0, 0])
    raw[0, 0, 0] = 1  # a volume of which nothing is stored is refused
    tissue = ""
    if mask:
        side = SIDE // COARSER
        square = np.linspace(-1, 1, side) ** 2
        ball = square[:, None, None] + square[:, None] + square < 1
        array = zarr.create_array(str(folder / "mask"), shape=ball.shape, dtype="uint8", chunks=(64,) * 3)
        array[:] = ball
        array.attrs.update(voxel_size=[8 * COARSER] * 3, offset=[0, 0, 0])
        tissue = f'mask = "{folder / "mask"}"\n'
    text = f'[volume]\npath = "{folder / "raw"}"\n{tissue}[output]\npath = "{folder / "out.zarr"}"\n'
    text += f'[model]\ncheckpoint = "identity"\n[schedule]\nblock_shape = {[BLOCK] * 3}\n'
    (folder / "config.toml").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mask", action="store_true")
    with tempfile.TemporaryDirectory() as name:
        # In a process of its own, so that what it leaves in the file cache is all that the command sees of it.
        writer = multiprocessing.Process(target=write_inputs, args=(Path(name), parser.parse_args().mask))
        writer.start()
        writer.join()
        config = Path(name) / "config.toml"
        code = "from fgnet_pipeline.commands.cli import main; main()"
        begin = time.perf_counter()
        with open(Path(name) / "plan.json", "wb") as out:
            command = subprocess.Popen([sys.executable, "-c", code, "plan", str(config), "--json"], stdout=out)
            _, status, used = os.wait4(command.pid, 0)  # of this process alone; RUSAGE_CHILDREN is the largest of all
        seconds = time.perf_counter() - begin
        if status:
            sys.exit("fgnet plan failed")
        stage = json.loads((Path(name) / "plan.json").read_text())["stages"][0]
        print(f"{stage['blocks']} blocks, {stage['empty']} of them empty: {seconds:.1f} s "
              f"({used.ru_utime + used.ru_stime:.1f} s of CPU), {used.ru_maxrss / 2**20:.2f} GiB")  # fmt: skip


if __name__ == "__main__":
    main()
