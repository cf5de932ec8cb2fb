"""A training small enough for tests: settings, a volume in memory, and volumes and a configuration on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import zarr
from fgnet.training.patch import LabelledVolume
from fgnet.training.settings import LoopSettings, Phase

SETTINGS = LoopSettings(
    cycles=(4, 6), phases=(Phase(0, (16, 32, 32), 1), Phase(3, (16, 32, 32), 2)), warm_up=2, mixed=False
)
CONFIG = """
[model]
preset = "nano"
[geometry]
tile = [32, 32, 32]
margin = [4, 4, 4]
stride = [24, 24, 24]
[[data.volumes]]
raw = "v.zarr/raw"
labels = "v.zarr/labels"
end = [24, 64, 64]
[optimise]
cycles = [2]
warm_up = 1
[[optimise.phases]]
begin = 0
patch = [16, 32, 32]
batch = 1
[output]
path = "out"
every = 1
[machine]
device = "cpu"
threads = 1
"""
#: A table for `CONFIG`: sections that are not trained on.
HELD_OUT = '[[data.validation]]\nraw = "v.zarr/raw"\nlabels = "v.zarr/labels"\nbegin = [24, 0, 0]\n'


def phantom() -> LabelledVolume:
    """Two objects with a dark border between them, (24, 40, 40)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.ones(24, 40, 40, dtype=torch.int32)
    labels[:, 20:] = 2
    raw = torch.randn(24, 40, 40, generator=generator) * 0.1
    raw[:, 19:21] -= 2
    return LabelledVolume(raw, labels)


def coded(shape: tuple[int, int, int]) -> LabelledVolume:
    """A volume whose raw equals its labels, so that whatever moves one must move the other."""
    z, y, x = np.indices(shape)
    labels = (1 + z // 8 + 10 * (y // 8) + 100 * (x // 8)).astype(np.int32)
    return LabelledVolume(torch.from_numpy(labels.astype(np.float32)), torch.from_numpy(labels))


def write_labelled(folder: Path, shape: tuple[int, int, int] = (32, 64, 64), **labels_attributes: object) -> None:
    """Write v.zarr with raw and labels of columns of 16 x 16 voxels."""
    _, y, x = np.indices(shape)
    labels = (1 + y // 16 + 10 * (x // 16) + 5_000_000_000).astype(np.uint64)
    raw = np.random.default_rng(0).integers(90, 150, shape).astype(np.uint8)
    raw[(y % 16 == 0) | (x % 16 == 0)] = 20
    frame = {"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    for name, data, attributes in (("raw", raw, frame), ("labels", labels, {**frame, **labels_attributes})):
        array = zarr.create_array(folder / "v.zarr" / name, shape=data.shape, dtype=data.dtype, chunks=(16, 32, 32))
        array[:] = data
        array.attrs.update(attributes)


def write_training(folder: Path, *replacements: tuple[str, str]) -> Path:
    """Write `CONFIG`, with parts of its text replaced."""
    text = CONFIG
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / "train.toml").write_text(text)
    return folder / "train.toml"


def losses(folder: Path) -> list[float]:
    """The losses in log.jsonl of a folder."""
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
