"""Voxel sizes, offsets, units and axes that files state: read rightly, overridden by options, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from source_files import IDS, INSIDE, RAW, imported, tifffile, write_n5, write_precomputed

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import whole
from fgnet_pipeline.datasets.convert import plan
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request, Source

Size = tuple[float, float, float]


def opened(path: Path | str, field: str = "--raw", dataset: str | None = None) -> Source:
    return open_source(Request(str(path), field, dataset))


# TIFF

IMAGEJ: dict[str, tuple[dict[str, Any], tuple[float, float], Size | None]] = {
    "um": ({"unit": "um", "spacing": 0.04}, (125.0, 200.0), (40, 5, 8)),
    "the escape of ImageJ": ({"unit": "\\u00B5m", "spacing": 0.04}, (125.0, 200.0), (40, 5, 8)),
    "nm": ({"unit": "nm", "spacing": 30}, (0.25, 0.25), (30, 4, 4)),
    "no spacing": ({"unit": "nm"}, (0.25, 0.25), None),
    "pixels": ({"unit": "pixel", "spacing": 1}, (1, 1), None),
    "nothing": ({}, (1, 1), None),
}


@pytest.mark.parametrize("case", IMAGEJ)
def test_imagej_states_the_unit_the_spacing_and_pixels_per_unit(tmp_path: Path, case: str) -> None:
    metadata, per_unit, expected = IMAGEJ[case]
    tifffile.imwrite(tmp_path / "v.tif", RAW, imagej=True, resolution=per_unit, metadata={"axes": "ZYX", **metadata})
    source = opened(tmp_path / "v.tif")
    assert source.voxel_size == (expected and pytest.approx(expected)) and source.offset is None
    if case == "no spacing":
        with pytest.raises(InputError, match="y 4 nm, x 4 nm of the voxel size"):
            plan(source, None)
        assert plan(source, None, voxel_size=(30.0, 4.0, 4.0)).frame.voxel_size == (30, 4, 4)


NANOMETRES = {f"PhysicalSize{a}": n for a, n in (("X", 4), ("Y", 6), ("Z", 40))}
OME: dict[str, tuple[dict[str, Any], Size | None]] = {
    "micrometres unless stated": ({"PhysicalSizeX": 0.004, "PhysicalSizeY": 0.006, "PhysicalSizeZ": 0.04}, (40, 6, 4)),
    "nm": ({**NANOMETRES, **{f"PhysicalSize{a}Unit": "nm" for a in "XYZ"}}, (40, 6, 4)),
    "two axes": ({"PhysicalSizeX": 0.004, "PhysicalSizeY": 0.006}, None),
}


@pytest.mark.parametrize("case", OME)
def test_ome_states_physical_sizes(tmp_path: Path, case: str) -> None:
    metadata, expected = OME[case]
    tifffile.imwrite(tmp_path / "v.ome.tif", RAW, photometric="minisblack", metadata={"axes": "ZYX", **metadata})
    assert opened(tmp_path / "v.ome.tif").voxel_size == (expected and pytest.approx(expected))


def test_dots_per_inch_of_a_screen_are_no_voxel_size_but_those_of_a_microscope_are_told(tmp_path: Path) -> None:
    for name, per_cm in (("screen", 72 / 2.54), ("microscope", 2.5e6)):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", RAW, photometric="minisblack", resolution=(per_cm, per_cm), resolutionunit=3
        )
    assert opened(tmp_path / "screen.tif").voxel_size is None and opened(tmp_path / "screen.tif").notes == ()
    source = opened(tmp_path / "microscope.tif")
    assert source.voxel_size is None and "y 4 nm, x 4 nm" in source.notes[0]


@pytest.mark.parametrize("metadata", [{"unit": "furlong", "spacing": 1}, {"unit": "um", "spacing": -1}])
def test_what_imagej_cannot_mean_is_refused_unless_overridden(tmp_path: Path, metadata: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "v.tif", RAW, imagej=True, resolution=(1, 1), metadata={"axes": "ZYX", **metadata})
    source = opened(tmp_path / "v.tif")
    with pytest.raises(InputError, match="--voxel-size"):
        plan(source, None)
    assert plan(source, None, voxel_size=(40.0, 4.0, 4.0)).frame.voxel_size == (40, 4, 4)


# Precomputed


def test_a_fractional_resolution_of_precomputed_is_kept(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", RAW, (3, 0, 7))
    info = json.loads((tmp_path / "v" / "info").read_text())
    info["scales"][0]["resolution"] = [10 / 3, 4.5, 40]
    (tmp_path / "v" / "info").write_text(json.dumps(info))
    source = opened(tmp_path / "v")
    assert source.voxel_size == (40, 4.5, 10 / 3) and source.offset == pytest.approx((280, 0, 10))


# HDF5


def hdf5(path: Path, data: Any = RAW, **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["d"] = data
        file["d"].attrs.update(attributes)
    return path


def tags(axes: str) -> str:
    return json.dumps({"axes": [{"key": axis, "typeFlags": 2, "resolution": 0} for axis in axes]})


STATED: dict[str, tuple[dict[str, Any], Size | None]] = {
    "text": ({"resolution": "40 6 4"}, (40, 6, 4)),
    "text with commas": ({"resolution": b"[40, 6, 4]"}, (40, 6, 4)),
    "another unit": ({"resolution": [0.04, 0.006, 0.004], "units": "um"}, (40, 6, 4)),
    "ilastik and Fiji": ({"element_size_um": [0.04, 0.006, 0.004]}, (40, 6, 4)),
    "both": ({"element_size_um": [0.04, 0.006, 0.004], "resolution": [40, 6, 4]}, (40, 6, 4)),
    "pixels": ({"resolution": [1, 1, 1], "unit": "pixel"}, None),
}


@pytest.mark.parametrize("case", STATED)
def test_attributes_of_hdf5_state_the_voxel_size(tmp_path: Path, case: str) -> None:
    attributes, expected = STATED[case]
    assert opened(hdf5(tmp_path / "v.h5", **attributes)).voxel_size == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    "attributes",
    [{"resolution": [40, 4]}, {"resolution": "forty"}, {"resolution": [40, 4, 0]}, {"resolution": [40, 4, np.nan]},
     {"resolution": [1, 1, 1], "units": "parsec"}, {"element_size_um": [1.0, 1.0]},
     {"resolution": [40, 4, 4], "element_size_um": [0.03, 0.004, 0.004]},
     {"resolution": [40, 4, 4], "offset": [1, 2]}],
)  # fmt: skip
def test_attributes_that_are_no_place_are_refused_unless_overridden(tmp_path: Path, attributes: dict[str, Any]) -> None:
    source = opened(hdf5(tmp_path / "v.h5", **attributes))
    with pytest.raises(InputError, match="--voxel-size"):
        plan(source, None)
    assert plan(source, None, voxel_size=(9.0, 9.0, 9.0), offset=(0.0, 0.0, 0.0)).frame.voxel_size == (9, 9, 9)


def test_axes_of_hdf5_are_put_in_order(tmp_path: Path) -> None:
    for attributes in ({"axistags": tags("xyz")}, {"axes": "xyz"}, {"axis_names": ["x", "y", "z"]}):
        path = hdf5(tmp_path / f"{next(iter(attributes))}.h5", RAW.T, resolution=[4, 6, 40], **attributes)
        source = opened(path)
        assert np.array_equal(source.read(whole(source.shape)), RAW) and source.voxel_size == (40, 6, 4)
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file["d"] = RAW.T[..., None]
        for dimension, label in zip(file["d"].dims, "xyzc", strict=True):
            dimension.label = label
        file["d"].attrs["element_size_um"] = [0.04, 0.006, 0.004]
    source = opened(tmp_path / "l.h5", dataset="d")
    assert np.array_equal(source.read(whole(source.shape)), RAW) and source.voxel_size == pytest.approx((40, 6, 4))


@pytest.mark.parametrize(
    "attributes",
    [{"axistags": tags("tyx")}, {"axistags": "{}"}, {"axes": "zzx"}, {"axes": "xyz", "axistags": tags("zyx")},
     {"MATLAB_class": "uint8"}],
)  # fmt: skip
def test_axes_of_hdf5_that_are_unclear_are_refused(tmp_path: Path, attributes: dict[str, Any]) -> None:
    path = hdf5(tmp_path / "v.h5", **attributes)
    with pytest.raises(InputError, match="--axes"):
        opened(path)
    named = open_source(Request(str(path), "--raw", axes=("z", "y", "x")))
    assert np.array_equal(named.read(whole(named.shape)), RAW)


def test_labels_of_another_program_meet_raw_at_the_right_voxel(tmp_path: Path) -> None:
    """Labels of an N5 in a box of raw, placed by the group's offset, against raw of HDF5 without an offset."""
    raw = hdf5(tmp_path / "raw.h5", resolution=[40, 6, 4])
    folder = tmp_path / "c.n5" / "labels" / "s0"
    write_n5(folder, IDS[INSIDE])
    attributes = json.loads((folder / "attributes.json").read_text())
    kept = {key: attributes[key] for key in ("dimensions", "blockSize", "dataType", "compression")}
    (folder / "attributes.json").write_text(json.dumps(kept))
    group = {"resolution": [0.004, 0.006, 0.04], "offset": [0.032, 0.03, 0.08], "units": ["um"] * 3}
    (folder.parent / "attributes.json").write_text(json.dumps(group))
    assert imported(tmp_path / "o.zarr", raw, folder)["labelled"] == [[2, 5, 8], [14, 25, 40]]


def test_an_array_with_an_axis_of_length_one_counts_when_the_only_array_is_looked_for(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["a"] = RAW[None]
        file["b"] = np.zeros((2, 3, 4), np.uint8)
    with pytest.raises(InputError, match="name one of: a, b"):
        opened(tmp_path / "v.h5")
    with h5py.File(tmp_path / "v.h5", "a") as file:
        del file["b"]
        file["many"] = np.zeros((2, 3, 4, 5), np.uint8)
    source = opened(tmp_path / "v.h5")
    assert np.array_equal(source.read(whole(source.shape)), RAW)
