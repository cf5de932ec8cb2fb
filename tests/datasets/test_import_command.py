"""`fgnet init` names the import that another format needs, and the named command works as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pipeline_tools import Command, Refused, write_volume

from fgnet_pipeline.datasets.phantom import Phantom, generate

NOISE = np.random.default_rng(0).integers(1, 255, (24, 30, 40), np.uint8)


@pytest.fixture(scope="module")
def grey() -> npt.NDArray[np.uint8]:
    """A phantom with the voxels of the shipped model."""
    return generate(Phantom((40, 72, 72)))[0]


def test_the_command_that_imports(
    grey: npt.NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused, command: Command
) -> None:
    """The command in the sentence is carried out as it stands, and `fgnet init` accepts what it makes."""
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my sections").mkdir()
    for z, section in enumerate(grey[:30].astype(np.uint16) * 50):
        tifffile.imwrite(tmp_path / "my sections" / f"s{z:03d}.tif", section)
    text = refused("init", "my sections")
    assert "(folder of pictures)" in text and "--raw 'my sections'" in text and "--voxel-size Z,Y,X" in text
    text = refused("init", "my sections", "--set", "volume.voxel_size=[10,10,10]")
    assert text.count("fgnet import 'my sections.zarr' --raw 'my sections' --range ") == 1
    line = text.partition("fgnet import ")[2].partition(";")[0]
    code, _, said = command("import", *shlex.split(line))
    assert code == 0, said
    code, out, said = command("init", "my sections.zarr/raw")
    assert code == 0 and out == f"{tmp_path / 'my sections.toml'}\n", said


def test_other_formats_are_named(tmp_path: Path, refused: Refused) -> None:
    import h5py

    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["a/raw"] = NOISE
        file["a/raw"].attrs["resolution"] = [40.0, 4.0, 4.0]
    text = refused("init", tmp_path / "v.h5", "--to", tmp_path / "my.toml")
    assert "HDF5 file" in text and f"fgnet import v.zarr --raw {tmp_path / 'v.h5'};" in text
    with h5py.File(tmp_path / "v.h5", "a") as file:
        file["b"] = NOISE
    assert "refuses it: --raw-dataset" in refused("init", tmp_path / "v.h5", "--to", tmp_path / "my.toml")
    floats = write_volume(tmp_path / "f.zarr", NOISE / np.float32(255), chunks=NOISE.shape)
    text = refused("init", floats, "--to", tmp_path / "my.toml")
    low, high = map(float, text.partition("--range ")[2].partition(";")[0].split(","))
    assert "Zarr array of float32" in text and 0 < low < 0.05 < 0.95 < high < 1
