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


OME: dict[str, tuple[dict[str, Any], Size | None]] = {
    "micrometres unless stated": ({"PhysicalSizeX": 0.004, "PhysicalSizeY": 0.006, "PhysicalSizeZ": 0.04}, (40, 6, 4)),
    "nm": (
        {f"PhysicalSize{a}{u}": v for a, n in (("X", 4), ("Y", 6), ("Z", 40)) for u, v in (("", n), ("Unit", "nm"))},
        (40, 6, 4),
    ),  # fmt: skip
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


# N5


def n5(folder: Path, own: dict[str, Any], above: dict[str, dict[str, Any]] | None = None) -> Path:
    """RAW at `folder` with the attributes `own`; `above` are those of other folders of the container."""
    write_n5(folder, RAW)
    attributes = json.loads((folder / "attributes.json").read_text())
    kept = {key: attributes[key] for key in ("dimensions", "blockSize", "dataType", "compression")}
    (folder / "attributes.json").write_text(json.dumps({**kept, **own}))
    root = next(p for p in folder.parents if p.suffix == ".n5")
    for name, found in (above or {}).items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "attributes.json").write_text(json.dumps(found))
    return folder


def cosem(scale: float, translate: float) -> dict[str, Any]:
    return {"axes": ["z", "y", "x"], "scale": [scale, scale, 2 * scale], "translate": [translate, 0, 0],
            "units": ["nm", "nm", "nm"]}  # fmt: skip


PLACED: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, Any]], Size | None, Size | None]] = {
    "nanometres unless stated": ("raw", {"resolution": [4, 6, 40], "offset": [8, 12, 80]}, {}, (40, 6, 4), (80, 12, 8)),
    "microns": ("raw", {"resolution": [0.004, 0.006, 0.04], "units": ["micron"] * 3}, {}, (40, 6, 4), None),
    "a unit for all": ("raw", {"resolution": [40, 60, 400], "unit": "Å"}, {}, (40, 6, 4), None),
    "n5-viewer": ("raw", {"pixelResolution": {"dimensions": [0.004, 0.006, 0.04], "unit": "um"}}, {}, (40, 6, 4), None),
    "n5-viewer without a unit": ("raw", {"pixelResolution": [4, 6, 40]}, {}, None, None),
    "pixels": ("raw", {"resolution": [1, 1, 1], "units": ["pixel"] * 3}, {}, None, None),
    "nothing": ("raw", {}, {}, None, None),
    "a level of n5-viewer": (
        "raw/s1",
        {"pixelResolution": {"dimensions": [4, 6, 40], "unit": "nm"}, "downsamplingFactors": [2, 2, 1]},
        {},
        (40, 12, 8),
        None,
    ),
    "a level by scales of its group": (
        "raw/s2",
        {},
        {"raw": {"resolution": [4, 6, 40], "scales": [[1, 1, 1], [2, 2, 1], [4, 4, 2]], "axes": ["x", "y", "z"]}},
        (80, 24, 16),
        None,
    ),
    "a level of Paintera": (
        "raw/data/s1",
        {"downsamplingFactors": [2, 2, 1]},
        {"raw": {"painteraData": {"type": "raw"}},
         "raw/data": {"multiScale": True, "resolution": [4, 6, 40], "offset": [8, 12, 80]}},
        (40, 12, 8),
        (80, 12, 8),
    ),
    "a level that states its own size": (
        "raw/s1",
        {"resolution": [8, 12, 40], "downsamplingFactors": [2, 2, 1]},
        {"raw/s0": {"resolution": [4, 6, 40], "dimensions": [88, 60, 20]}},
        (40, 12, 8),
        None,
    ),
    "COSEM": ("raw/s0", {"transform": cosem(4, 100)}, {}, (4, 4, 8), (100, 0, 0)),
    "a level of COSEM": (
        "raw/s1",
        {"transform": {**cosem(8, 102), "translate": [102, 2, 4]}},
        {"raw/s0": {"transform": cosem(4, 100)}},
        (8, 8, 16),
        (100, 0, 0),
    ),
    "a level of COSEM by its group": (
        "raw/s1",
        {},
        {"raw": {"multiscales": [{"datasets": [
            {"path": "s0", "transform": cosem(4, 0)},
            {"path": "s1", "transform": {**cosem(8, 2), "translate": [2, 2, 4]}},
        ]}]}},
        (8, 8, 16),
        (0, 0, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACED)
def test_n5_volumes_lie_where_their_program_put_them(tmp_path: Path, case: str) -> None:
    name, own, above, size, offset = PLACED[case]
    source = opened(n5(tmp_path / "c.n5" / name, own, above))
    assert np.array_equal(source.read(whole(source.shape)), RAW)
    assert source.voxel_size == (size and pytest.approx(size)) and source.offset == (offset and pytest.approx(offset))


def test_the_axes_of_n5_are_put_in_order(tmp_path: Path) -> None:
    folder = n5(tmp_path / "c.n5" / "raw", {"axes": ["Z", "y", "x"], "resolution": [40, 6, 4], "units": ["nm"] * 3})
    source = opened(folder)
    assert source.shape == RAW.T.shape[:1] + RAW.shape[1:2] + RAW.shape[:1] and source.voxel_size == (40, 6, 4)
    assert np.array_equal(source.read(whole(source.shape)), RAW.T)
    turned = n5(tmp_path / "d.n5" / "raw", {"transform": {**cosem(4, 100), "axes": ["x", "y", "z"]}})
    assert np.array_equal(opened(turned).read(whole(source.shape)), RAW.T)
    assert opened(turned).voxel_size == (8, 4, 4) and opened(turned).offset == (0, 0, 100)


UNCLEAR: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, Any]], str]] = {
    "an unknown unit": ("raw", {"resolution": [4, 6, 40], "units": ["ly"] * 3}, {}, "unit 'ly'"),
    "two numbers": ("raw", {}, {"": {"resolution": [4, 6]}}, "3 finite numbers"),
    "a level without factors": ("raw/s1", {}, {"raw": {"resolution": [4, 6, 40]}}, "downsamplingFactors"),
    "a level of the size of s0": (
        "raw/s1",
        {"resolution": [4, 6, 40]},
        {"raw/s0": {"resolution": [4, 6, 40]}},
        "downsamplingFactors",
    ),
    "an offset of a level": (
        "raw/s1",
        {"resolution": [4, 6, 40], "downsamplingFactors": [2, 2, 1], "offset": [8, 0, 0]},
        {},
        "offset",
    ),
    "a dataset against its group": (
        "raw/s0",
        {"resolution": [8, 8, 40]},
        {"raw": {"resolution": [4, 6, 40]}},
        "attributes that agree",
    ),
    "an affine transform": ("raw", {"affineTransform": [[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}, {}, "affine"),
    "a translation without a unit": ("raw", {"resolution": [4, 4, 4], "translate": [100, 0, 0]}, {}, "translate"),
    "a level of COSEM alone": ("raw/s1", {"transform": cosem(8, 2)}, {}, "level s0"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_n5_attributes_that_cannot_be_trusted_need_options(tmp_path: Path, case: str) -> None:
    name, own, above, said = UNCLEAR[case]
    source = opened(n5(tmp_path / "c.n5" / name, own, above))
    with pytest.raises(InputError, match=said):
        plan(source, None)
    frame = plan(source, None, voxel_size=(40.0, 6.0, 4.0), offset=(1.0, 2.0, 3.0)).frame
    assert frame.voxel_size == (40, 6, 4) and frame.offset == (1, 2, 3)


@pytest.mark.parametrize("axes", [["x", "y", "t"], ["x", "y"], ["x", "x", "z"], "xyz"])
def test_axes_that_are_not_those_of_space_are_refused(tmp_path: Path, axes: Any) -> None:
    with pytest.raises(InputError, match="axes"):
        opened(n5(tmp_path / "c.n5" / "raw", {"axes": axes}))


def test_groups_and_label_multisets_are_refused_by_name(tmp_path: Path) -> None:
    n5(tmp_path / "c.n5" / "raw" / "s0", {}, {"raw": {"multiScale": True}})
    with pytest.raises(InputError, match="name one of s0"):
        opened(tmp_path / "c.n5" / "raw")
    with pytest.raises(InputError, match="multisets"):
        opened(n5(tmp_path / "c.n5" / "ids", {"isLabelMultiset": True}))


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
