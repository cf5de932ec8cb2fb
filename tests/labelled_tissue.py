"""Generated tissue whose borders are where its labels say, on disk, and a training on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from scipy import ndimage

SHAPE = (24, 80, 96)
Array = npt.NDArray[Any]
#: A table for `configuration`: the last 32 rows of voxels, which are not trained on.
HELD_OUT = '[[data.validation]]\nraw = "t.zarr/raw"\nlabels = "t.zarr/labels"\nbegin = [0, 48, 0]\n'
CONFIG = """
[model]
preset = "nano"
[geometry]
tile = [32, 32, 32]
margin = [4, 4, 4]
stride = [24, 24, 24]
[data]
{data}
[[data.volumes]]
raw = "t.zarr/raw"
labels = "t.zarr/labels"
end = [24, 48, 96]
{volume}
{held_out}
[optimise]
cycles = [1]
[[optimise.phases]]
begin = 0
patch = [16, 32, 32]
batch = 1
[output]
path = "out"
[machine]
device = "cpu"
threads = 1
"""


def tissue(seed: int = 0, shape: tuple[int, int, int] = SHAPE, cells: int = 60) -> tuple[Array, Array]:
    """Raw uint8 with dark membranes, and labels uint64 of cells that touch, both (z, y, x)."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, np.uint64)
    seeds.ravel()[rng.choice(seeds.size, cells, replace=False)] = np.arange(1, cells + 1)
    nearest = ndimage.distance_transform_edt(seeds == 0, (2, 1, 1), return_distances=False, return_indices=True)
    labels = seeds[tuple(nearest)]
    raw = 150 + 8 * rng.standard_normal(shape)
    raw[membranes(labels)] -= 60
    return np.clip(raw, 1, 254).astype(np.uint8), labels


def membranes(labels: Array) -> Array:
    """Voxels beside another label within their section."""
    drawn = np.zeros(labels.shape, bool)
    for axis in (1, 2):
        differ = np.diff(labels, axis=axis) != 0
        drawn |= np.pad(differ, [(0, int(a == axis)) for a in range(3)])
        drawn |= np.pad(differ, [(int(a == axis), 0) for a in range(3)])
    return drawn


def write(folder: Path, raw: Array, labels: Array, name: str = "t.zarr", offset: tuple[int, ...] = (0, 0, 0)) -> None:
    """Write raw and labels of 10 nm, as a group `name`."""
    frame = {"voxel_size": [10, 10, 10], "offset": list(offset), "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    for key, data in (("raw", raw), ("labels", labels)):
        array: Any = zarr.create_array(folder / name / key, data=data, chunks=(24, 40, 96), overwrite=True)
        array.attrs.update(frame)


def configuration(folder: Path, data: str = "", volume: str = "", held_out: str = HELD_OUT) -> Path:
    """Write train.toml, with lines added to the tables `[data]` and `[[data.volumes]]`."""
    (folder / "train.toml").write_text(CONFIG.format(data=data, volume=volume, held_out=held_out))
    return folder / "train.toml"


def written(folder: Path, change: Callable[[Array, Array], tuple[Array, Array]]) -> None:
    """Write tissue after a change of its raw and labels."""
    write(folder, *change(*tissue()))
