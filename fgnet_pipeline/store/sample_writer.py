"""Writes the demo's sample: a Zarr v3 group of ``raw`` and ``labels``, there as a whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from fgnet_pipeline.core.signals import interrupts_later

_CHUNK = 64


def write_sample(
    path: Path,
    raw: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint64],
    voxel_size: tuple[float, float, float],
    attributes: Mapping[str, Any],
) -> None:
    """Write both (z, y, x) arrays beside ``path`` and rename them to it; one that is there already stays.

    Args:
        path: of the group; its folder is made.
        raw: grey values.
        labels: ids, 0 = no ground truth, of the shape of ``raw``.
        voxel_size: nm, zyx.
        attributes: of the group, such as where the data come from.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        with interrupts_later():
            group = zarr.create_group(made, zarr_format=3, attributes=dict(attributes))
            _write_array(group, "raw", raw, voxel_size)
            _write_array(group, "labels", labels, voxel_size)
        _rename(made, path)


def _write_array(group: zarr.Group, name: str, data: npt.NDArray[Any], voxel_size: tuple[float, float, float]) -> None:
    group.create_array(
        name,
        data=data,
        chunks=tuple(min(_CHUNK, n) for n in data.shape),
        attributes={
            "offset": [0, 0, 0],
            "voxel_size": [int(v) if float(v).is_integer() else float(v) for v in voxel_size],
            "axis_names": ["z", "y", "x"],
            "units": ["nm", "nm", "nm"],
            "types": ["space", "space", "space"],
        },
    )


def _rename(made: Path, path: Path) -> None:
    """Another process may have been first; its copy is as good."""
    try:
        made.rename(path)
    except OSError:
        if not (path / "zarr.json").exists():
            raise
        shutil.rmtree(made)
