"""Axes: whatever states them is honoured, and two statements that contradict each other are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr_tools import DATA, axes_of, level, pyramid, write_array, write_attributes

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.volume import open_volume

#: What an array of the stored order x, y, z states of it: attributes, options of the array, attributes of its group.
STATED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "funlib": ({"axis_names": ["x", "y", "z"]}, {}, {}),
    "xarray": ({"_ARRAY_DIMENSIONS": ["x", "y", "z"]}, {"zarr_format": 2}, {}),
    "xarray in capitals": ({"_ARRAY_DIMENSIONS": ["X", "Y", "Z"]}, {}, {}),
    "list": ({"axes": ["x", "y", "z"]}, {}, {}),
    "text": ({"axes": "xyz"}, {}, {}),
    "objects": ({"axes": [{"name": n, "type": "space"} for n in "xyz"]}, {}, {}),
    "zarr v3": ({}, {"dimension_names": ["x", "y", "z"]}, {}),
    "cosem": ({"transform": {"axes": ["x", "y", "z"], "scale": [1, 1, 1], "translate": [0, 0, 0]}}, {}, {}),
    "cosem in fortran order": (
        {"transform": {"order": "F", "axes": ["z", "y", "x"], "scale": [1, 1, 1], "translate": [0, 0, 0]}}, {}, {},
    ),
    "ome 0.5": ({}, {}, pyramid(level("a", [1, 1, 1]), axes=axes_of("xyz"))),
    "ome 0.4": ({}, {"zarr_format": 2}, {"multiscales": [{"axes": axes_of("xyz"), "datasets": [level("a", [1] * 3)]}]}),
    "ome 0.3": ({}, {"zarr_format": 2}, {"multiscales": [{"axes": ["x", "y", "z"], "datasets": [{"path": "a"}]}]}),
    "ome 0.6": ({}, {}, {"ome": {"version": "0.6", "multiscales": [{
        "coordinateSystems": [{"name": "world", "axes": axes_of("zyx")}, {"name": "own", "axes": axes_of("xyz")}],
        "datasets": [{"path": "a", "coordinateTransformations": [
            {"type": "scale", "scale": [1, 1, 1], "input": "a", "output": {"name": "own"}}]}]}]}}),
}  # fmt: skip


@pytest.mark.parametrize("case", STATED)
def test_axes_in_another_order_are_read_rightly(case: str, tmp_path: Path) -> None:
    attributes, options, group = STATED[case]
    write_attributes(tmp_path, group, options.get("zarr_format", 3))
    volume = open_volume(write_array(tmp_path / "a", DATA.T, attributes, **options))
    assert volume.order == (2, 1, 0) and volume.shape == DATA.shape
    assert np.array_equal(volume.read(volume.bounds), DATA)


@pytest.mark.parametrize("names", ["czyx", "zyxc", "zycx", "tzyx", "CZYX"])
def test_a_channel_axis_of_length_1_may_be_anywhere(names: str, tmp_path: Path) -> None:
    at = names.lower().index("c" if "c" in names.lower() else "t")
    path = write_array(tmp_path / "a", np.expand_dims(DATA, at), {}, dimension_names=list(names))
    volume = open_volume(path)
    assert np.array_equal(volume.read(volume.bounds), DATA)


def write_data_set(folder: Path, mag: dict[str, Any], array: Any = DATA.T, **layer: Any) -> str:
    """A WEBKNOSSOS data set with one layer `color`."""
    properties = {"id": {"name": "d", "team": ""}, "scale": {"factor": [4, 8, 0.04], "unit": "nanometer"},
                  "dataLayers": [{"name": "color", "category": "color", "mags": [mag], **layer}]}  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "datasource-properties.json").write_text(json.dumps(properties))
    return write_array(folder / "color" / "2-2-1", array)


@pytest.mark.parametrize(
    ("mag", "array"),
    [
        ({"mag": [2, 2, 1], "path": "./color/2-2-1", "axisOrder": {"x": 2, "y": 1, "z": 0}}, DATA),
        ({"mag": [2, 2, 1], "path": "color/2-2-1", "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3}}, DATA.T[None]),
        ({"mag": [2, 2, 1], "axisOrder": {"c": 1, "x": 3, "z": 2, "y": 0}}, DATA.transpose(1, 0, 2)[:, None]),
        ({"mag": [2, 2, 1]}, DATA.T),  # the last axes are x, y, z if nothing is stated
        ({"mag": "2-2-1"}, DATA.T[None]),
    ],
)
def test_webknossos_states_axes_and_voxel_size(mag: dict[str, Any], array: Any, tmp_path: Path) -> None:
    volume = open_volume(write_data_set(tmp_path / "set", mag, array))
    assert np.array_equal(volume.read(volume.bounds), DATA)
    assert volume.frame is not None and volume.frame.voxel_size == (0.04, 16, 8)
    assert volume.frame.offset == (0, 0, 0)


CONTRADICTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "two attributes": ({"axis_names": ["z", "y", "x"], "_ARRAY_DIMENSIONS": ["x", "y", "z"]}, {}, {}),
    "attribute and zarr v3": ({"axes": ["z", "y", "x"]}, {"dimension_names": ["x", "y", "z"]}, {}),
    "attribute and ome": (
        {"_ARRAY_DIMENSIONS": ["z", "y", "x"]},
        {},
        pyramid(level("a", [1] * 3), axes=axes_of("xyz")),
    ),
    "an axis twice": ({"axes": ["z", "y", "y"]}, {}, {}),
    "other names": ({"_ARRAY_DIMENSIONS": ["depth", "height", "width"]}, {}, {}),
    "too few names": ({"axes": ["y", "x"]}, {}, {}),
    "too many names": ({"axes": ["c", "z", "y", "x"]}, {}, {}),
    "numbers": ({"axes": [0, 1, 2]}, {}, {}),
    "an object": ({"axes": {"z": 0}}, {}, {}),
    "one name is null": ({}, {"dimension_names": [None, "y", "x"]}, {}),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_axes_that_cannot_be_told_are_refused_by_name(case: str, tmp_path: Path) -> None:
    attributes, options, group = CONTRADICTIONS[case]
    write_attributes(tmp_path, group)
    path = write_array(tmp_path / "a", DATA, attributes, **options)
    with pytest.raises(InputError) as caught:
        open_volume(path)
    assert caught.value.field == "volume.axes" and "volume.axes" in caught.value.remedy
    with pytest.raises(InputError) as caught:
        open_volume(path, "volume.mask")
    assert caught.value.field == "volume.mask"
    volume = open_volume(path, axes=("Z", "Y", "X"), voxel_size=(1, 1, 1), offset=(0, 0, 0))
    assert np.array_equal(volume.read(volume.bounds), DATA)


@pytest.mark.parametrize("names", [["dim_0", "dim_1", "dim_2"], ["d0", "d1", "d2"], [], [None, None, None]])
def test_names_that_tools_invent_state_nothing(names: list[Any], tmp_path: Path) -> None:
    volume = open_volume(write_array(tmp_path / "a", DATA, {"_ARRAY_DIMENSIONS": names}))
    assert volume.order == (0, 1, 2) and "not stated" in volume.sources.axes


def test_a_wrong_axis_order_of_webknossos_is_refused(tmp_path: Path) -> None:
    for order in ({"x": 0, "y": 1}, {"x": 0, "y": 1, "z": 3}, {"x": "0", "y": 1, "z": 2}, [0, 1, 2]):
        path = write_data_set(tmp_path / "set", {"mag": [2, 2, 1], "axisOrder": order})
        with pytest.raises(InputError, match=r"volume.axes"):
            open_volume(path)
        (tmp_path / "set").rename(tmp_path / f"set{len(list(tmp_path.iterdir()))}")
