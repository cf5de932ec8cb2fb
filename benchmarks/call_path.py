"""Print the calls from a command of fgnet to the kernel of the fragments stage, counted in a real run.

    python benchmarks/call_path.py

A tiny volume is run serially (`--workers 0`). The stack is read when the first function of the folder
`kernels/fragments` is entered while a block is computed. Only functions of the project are counted, not those of daisy
or of the command line's library. The last line gives the number of calls and of files, and the most that is allowed;
the exit code is 1 if there are more.

With worker processes the chain is cut in two, at the start of a process, and is not measured: the driver's part ends in
`execution/local_workers`, the worker's part begins with its function `work_on_blocks`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import zarr

import fgnet_pipeline

ROOT = f"{Path(fgnet_pipeline.__file__).parent}/"
KERNELS = "kernels/fragments/"
COMMAND, RUNNER = "commands/run.py", "execution/block_runner.py"
MOST_CALLS, MOST_FILES = 12, 6


def main() -> int:
    """Print the chain; the exit code is 1 if it is longer than it may be."""
    argparse.ArgumentParser(description="Count the calls from fgnet run to the fragments kernel.").parse_args()
    chain: list[tuple[str, str]] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>" and _place(frame).startswith(KERNELS):
            found = _from_command(frame)
            if any(place == RUNNER for place, _ in found):
                chain.extend(found)
                sys.setprofile(None)

    with tempfile.TemporaryDirectory() as folder:
        config = _write_inputs(Path(folder))
        from fgnet_pipeline.commands.cli import app

        sys.setprofile(watch)
        try:
            app(["run", str(config)], standalone_mode=False)
        finally:
            sys.setprofile(None)
    files = list(dict.fromkeys(place for place, _ in chain))
    for number, (place, name) in enumerate(chain, 1):
        print(f"{number:3d}  {place:36s} {name}")
    print(f"{len(chain)} calls through {len(files)} files (at most {MOST_CALLS} and {MOST_FILES})")
    return int(not chain or len(chain) > MOST_CALLS or len(files) > MOST_FILES)


def _from_command(frame: FrameType | None) -> list[tuple[str, str]]:
    """File and function of the project's frames, from the command on; nothing if no command is active."""
    found = []
    while frame is not None:
        if place := _place(frame):
            found.append((place, frame.f_code.co_qualname))
        frame = frame.f_back
    found.reverse()
    begin = next((index for index, (place, _) in enumerate(found) if place == COMMAND), len(found))
    return found[begin:]


def _place(frame: FrameType) -> str:
    """The frame's file, relative to the package; empty for a file outside of the package."""
    path = frame.f_code.co_filename
    return path.removeprefix(ROOT) if path.startswith(ROOT) else ""


def _write_inputs(folder: Path) -> Path:
    raw = zarr.create_array(folder / "raw.zarr", shape=(32, 32, 32), dtype=np.uint8, chunks=(32, 32, 32))
    raw[:] = np.random.default_rng(0).integers(0, 255, raw.shape, np.uint8)
    raw.attrs.update({"voxel_size": [8, 8, 8], "offset": [0, 0, 0], "units": ["nm"] * 3, "axis_names": ["z", "y", "x"]})
    config = folder / "config.toml"
    config.write_text(
        f'[volume]\npath = "{folder}/raw.zarr"\n[output]\npath = "{folder}/out.zarr"\n'
        '[model]\ncheckpoint = "identity"\n[schedule]\nworkers = 0\nblock_shape = [32, 32, 32]\n'
    )
    return config


if __name__ == "__main__":
    sys.exit(main())
