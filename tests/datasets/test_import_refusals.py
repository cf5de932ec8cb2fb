"""`fgnet import`: what is refused is named, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pipeline_tools import Command
from source_files import IDS, RAW, imported, write_cremi, write_folder, write_main

from fgnet_pipeline.core.errors import InputError


def test_a_preset_of_another_shape_is_refused_and_a_dry_run_writes_nothing(tmp_path: Path, command: Command) -> None:
    file = write_cremi(tmp_path / "s.hdf")
    code, _, text = command("import", tmp_path / "o.zarr", "--raw", file, "--preset", "cremi_a")
    assert code == 2 and "125, 1250, 1250" in text and text.count("\n") == 1
    planned = command("import", tmp_path / "o.zarr", "--raw", file, "--dry-run", "--json")[1]
    assert json.loads(planned)["dry_run"] and sorted(p.name for p in tmp_path.iterdir()) == ["s.hdf"]


REFUSED: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "missing": ("--raw", lambda p: {"raw": p / "none.h5"}),
    "no HDF5": ("--raw", lambda p: {"raw": written(p / "bad.h5", b"text")}),
    "no TIFF": ("--raw", lambda p: {"raw": written(p / "bad.tif", b"text")}),
    "unknown suffix": ("--raw", lambda p: {"raw": written(p / "bad.dat", b"text")}),
    "no voxel size": ("--voxel-size", lambda p: {"raw": write_main(p / "a.h5", RAW)}),
    "uint16 without range": (
        "--range",
        lambda p: {"raw": write_main(p / "a.h5", RAW.astype(np.uint16)), "voxel_size": (4.0, 4.0, 4.0)},
    ),
    "labels of floats": (
        "--labels",
        lambda p: {"labels": write_main(p / "l.h5", RAW.astype(np.float32)), "labels_offset": (0.0, 0.0, 0.0)},
    ),
    "smaller labels without offset": ("--labels-offset", lambda p: {"labels": write_main(p / "l.h5", IDS[:5])}),
    "labels outside": ("--labels", lambda p: {"labels_offset": (800.0, 0.0, 0.0), "labels": p / "s.hdf"}),
    "off the grid": ("--labels-offset", lambda p: {"labels_offset": (80.0, 2.0, 0.0), "labels": p / "s.hdf"}),
    "labels of 0": ("--labels", lambda p: {"labels": write_main(p / "l.h5", 0 * IDS)}),
    "negative ids": ("--labels", lambda p: {"labels": write_main(p / "l.h5", IDS.astype(np.int64) - 9)}),
    "a section left out": ("--raw", lambda p: {"raw": without(write_folder(p / "f.png", RAW), "wafer4_99.png")}),
    "a section of another size": ("--raw", lambda p: {"raw": resized(write_folder(p / "f.png", RAW))}),
    "unknown preset": ("--preset", lambda p: {"preset": "cremi_d"}),
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def resized(folder: Path) -> Path:
    Image.fromarray(RAW[0, :8]).save(folder / "wafer4_99.png")
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_named_and_nothing_is_left_behind(tmp_path: Path, case: str) -> None:
    field, make = REFUSED[case]
    sample = write_cremi(tmp_path / "s.hdf")
    arguments = {"raw": sample, **make(tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        imported(tmp_path / "o.zarr", arguments.pop("raw"), arguments.pop("labels", None), **arguments)
    assert caught.value.field == field
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_section_and_an_occupied_output_leave_all_as_it_was(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f.png", RAW)
    (folder / "wafer4_100.png").write_bytes((folder / "wafer4_100.png").read_bytes()[:200])
    with pytest.raises(InputError, match=r"wafer4_100\.png"):
        imported(tmp_path / "o.zarr", folder, voxel_size=(35.0, 8.0, 8.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]
    (tmp_path / "o.zarr").mkdir()
    with pytest.raises(InputError, match="OUTPUT"):
        imported(tmp_path / "o.zarr", write_main(tmp_path / "a.h5", RAW), voxel_size=(35.0, 8.0, 8.0))
    assert list((tmp_path / "o.zarr").iterdir()) == []
