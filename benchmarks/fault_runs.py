"""Runs that the trials of faults.py disturb, their comparison, and the tally of trials.

Imported by faults.py, fault_kills.py and fault_damage.py.

It measures nothing by itself: `compare` raises an error if two outputs differ in a byte, and `Tally.table` is the table
that faults.py prints, whose figures its docstring explains.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage

from fgnet_pipeline.store.layout import state_of

COMMAND = [sys.executable, "-m", "fgnet_pipeline"]
SHAPE, BLOCK = (48, 48, 64), 16
#: After this many seconds a run counts as hanging.
LIMIT = 600.0
COMPARED = ("affinities", "fragments", "segmentation", "tables")


class TrialError(Exception):
    """A trial that did not end as it must."""


@dataclass
class Tally:
    """What was done and how it ended: (what) -> number of trials and of those that ended well."""

    trials: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def table(self) -> str:
        lines = ["| what | trials | byte-identical | stopped, naming the damage | failed |", "|---|---|---|---|---|"]
        for what, n in self.trials.items():
            failed = n - self.equal[what] - self.named[what]
            lines.append(f"| {what} | {n} | {self.equal[what]} | {self.named[what]} | {failed} |")
        total = self.trials.total(), self.equal.total(), self.named.total()
        lines.append(f"| all | {total[0]} | {total[1]} | {total[2]} | {total[0] - total[1] - total[2]} |")
        return "\n".join(lines)


def write_raw(folder: Path) -> Path:
    """Bright cells of a Voronoi diagram with dark membranes, uint8."""
    rng = np.random.default_rng(0)
    centres = rng.random((25, 3)) * SHAPE
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    near = np.sort(np.linalg.norm(grid[..., None, :] - centres, axis=-1), axis=-1)
    noise = ndimage.gaussian_filter(rng.normal(0, 40, SHAPE), 1.0)
    data = np.clip(60 * (near[..., 1] - near[..., 0]) + noise, 0, 250).astype(np.uint8)
    array = zarr.create_array(str(folder / "raw.zarr"), shape=SHAPE, dtype="uint8", chunks=SHAPE)
    array[:] = data
    array.attrs.update({"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"]})
    return folder / "raw.zarr"


def write_config(path: Path, raw: Path, out: Path) -> Path:
    """A configuration of small blocks and the identity network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'[volume]\npath = "{raw}"\n[output]\npath = "{out}"\n[model]\ncheckpoint = "identity"\n'
        f"[schedule]\nworkers = 2\nblock_shape = [{BLOCK}, {BLOCK}, {BLOCK}]\n[agglomerate]\nleaf_blocks = 2\n"
    )
    return path


def fgnet(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one that hangs is a failed trial."""
    try:
        return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise TrialError(f"fgnet {arguments[0]} hangs") from error


def finish(config: Path, *more: object) -> None:
    """Run to the end; it must."""
    done = fgnet("run", config, *more)
    if done.returncode != 0:
        raise TrialError(f"fgnet run ended with {done.returncode}: {done.stderr[-600:]}")


def compare(reference: Path, out: Path) -> None:
    """Arrays and tables of two outputs are equal, byte for byte; unfinished files of killed writers do not count."""
    for name in COMPARED:
        first, second = _stored(reference, name), _stored(out, name)
        different = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
        if different:
            raise TrialError(f"{name} differs from the undisturbed run in {len(different)} files, e.g. {different[0]}")


def _stored(out: Path, name: str) -> dict[str, bytes]:
    """Files of an array, or of all tables, of an output."""
    return files_of((state_of(out) if name == "tables" else out) / name)


def files_of(root: Path) -> dict[str, bytes]:
    """Bytes of every finished file below a folder, by relative path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".partial"}
