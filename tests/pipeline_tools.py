"""Small volumes and configurations for tests of the whole pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from scipy import ndimage

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.stored_files import is_partial

#: The fixture `command`: from arguments to exit code, standard output and standard error.
Command = Callable[..., tuple[object, str, str]]
#: The fixture `refused`: from arguments to the sentence.
Refused = Callable[..., str]
CHECKOUT = Path(__file__).resolve().parents[1]
ATTRIBUTES = {"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}


def cells(shape: tuple[int, int, int], seed: int = 0, count: int = 30) -> npt.NDArray[np.uint8]:
    """Raw-like uint8: bright cells of a Voronoi diagram, dark membranes, some noise."""
    rng = np.random.default_rng(seed)
    centres = rng.random((count, 3)) * shape
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distances = np.sort(np.linalg.norm(grid[..., None, :] - centres, axis=-1), axis=-1)
    membrane = distances[..., 1] - distances[..., 0]
    smooth = ndimage.gaussian_filter(rng.normal(0, 40, shape), 1.0)
    return np.clip(60 * membrane + smooth, 0, 250).astype(np.uint8)


def write_volume(path: Path, data: npt.NDArray[Any], attributes: dict[str, Any] | None = None, **kwargs: Any) -> str:
    """Write an array with our attributes; returns its path. Chunks of 0 are stored only if there are no others."""
    kwargs.setdefault("chunks", tuple(min(20, n) for n in data.shape))
    kwargs.setdefault("config", {"write_empty_chunks": not data.any()})
    # The codecs of zarrs, which a run sets in this process, store no empty chunk.
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        array = zarr.create_array(str(path), shape=data.shape, dtype=data.dtype, **kwargs)
        array[:] = data
    array.attrs.update(ATTRIBUTES if attributes is None else attributes)
    return str(path)


def write_config(path: Path, **sections: dict[str, Any]) -> Path:
    """Write a TOML file from tables of plain values."""
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def standard_config(folder: Path, raw: str, leaf_blocks: int = 1, **schedule: Any) -> Path:
    """A serial run with the identity network on small blocks; `schedule` are further keys of that table."""
    return write_config(
        folder / "config.toml",
        volume={"path": raw},
        output={"path": str(folder / "out.zarr")},
        model={"checkpoint": "identity"},
        schedule={"workers": 0, "block_shape": [24, 24, 24], **schedule},
        agglomerate={"leaf_blocks": leaf_blocks},
    )


def run_on_cells(
    folder: Path,
    shape: tuple[int, int, int],
    *,
    seed: int = 0,
    count: int = 30,
    overrides: tuple[str, ...] = (),
    **config: Any,
) -> Path:
    """A finished serial run of all stages on `cells`.

    Args:
        folder: gets raw.zarr, config.toml and out.zarr.
        shape: of the raw volume, in voxels, zyx.
        seed: of `cells`.
        count: of `cells`.
        overrides: as after `--set`; they are not in config.toml.
        config: further arguments of `standard_config`.

    Returns:
        The folder.
    """
    raw = write_volume(folder / "raw.zarr", cells(shape, seed, count))
    run(load_config(standard_config(folder, raw, **config), list(overrides)))
    return folder


def script(name: str, *arguments: object, check: bool = True, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run workflows/NAME as a lab would; with `check` a failure shows what it printed."""
    command = [sys.executable, str(CHECKOUT / "workflows" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def fgnet(*arguments: object, check: bool = True, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run the `fgnet` command."""
    command = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"fgnet ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def read(folder: Path | str, name: str) -> npt.NDArray[Any]:
    """The whole array of a name below a folder."""
    return np.asarray(zarr.open_array(Path(folder) / name, mode="r")[:])


def state_of(out: Path | str) -> Path:
    """The folder of tables, records, logs and configuration of an output, old or new."""
    nested = Path(out) / "fgnet" / "state"
    return nested if nested.is_dir() else Path(out)


def files_of(folder: Path, name: str) -> dict[str, bytes]:
    """Every file of an array or of the tables, by relative path; not those that a killed process left unfinished."""
    root = (state_of(folder) if name in ("tables", "progress") else Path(folder)) / name
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and not is_partial(p)]
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


OUTPUTS = ("affinities", "fragments", "segmentation", "tables")


def assert_same_output(one: Path, other: Path, names: tuple[str, ...] = OUTPUTS) -> None:
    """Arrays and tables of two outputs are equal, byte for byte."""
    for name in names:
        first, second = files_of(one, name), files_of(other, name)
        assert first.keys() == second.keys(), name
        different = [path for path in first if first[path] != second[path]]
        assert not different, f"{name}: {different[:5]}"


def wait_for_records(
    out: Path, stage: str, count: int, process: subprocess.Popen[bytes], patience: float = 120.0
) -> None:
    """Until `stage` has `count` records or the process ends."""
    give_up = time.monotonic() + patience
    while len(records(out, stage)) < count and process.poll() is None:
        assert time.monotonic() < give_up, f"no {count} records of {stage} in time"
        time.sleep(0.01)


def records(folder: Path, stage: str) -> list[dict[str, Any]]:
    """All done records of a task that were not written to withdraw another."""
    found = []
    for path in sorted((state_of(folder) / "progress" / stage).glob("done-*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            found += [record] if record["key"] else []
    return found
