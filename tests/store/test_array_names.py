"""Names and units of axes in our arrays, as other programs read them, and how an array without them gets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorstore
import zarr

from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.volume import open_volume

SIZES = [(10.0, 10.0, 10.0), (40.0, 4.0, 4.0), (29.5, 4.6, 10 / 3)]


def made(folder: Path, size: tuple[float, float, float], channels: bool) -> tuple[Frame, Output]:
    """The frame of a new array `array` in an output, and the output."""
    frame, output = Frame(size, (1000.0, 0.0, 20.0)), Output(str(folder / "out.zarr"))
    output.create()
    lead = (3,) if channels else ()
    output.create_array(
        "array", shape=(*lead, 32, 32, 32), dtype="uint8", shard=(32, 32, 32), chunk=(16, 16, 16),
        attributes=frame.attributes(channels=channels),
    )  # fmt: skip
    return frame, output


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [False, True])
def test_other_programs_find_names_and_units(tmp_path: Path, size: tuple[float, float, float], channels: bool) -> None:
    frame, _ = made(tmp_path, size, channels)
    path = tmp_path / "out.zarr" / "array"
    store = tensorstore.open({"driver": "zarr3", "kvstore": path.as_uri()}).result()
    names = ("c", "z", "y", "x") if channels else ("z", "y", "x")
    assert store.domain.labels == names
    assert zarr.open_array(path, mode="r").metadata.dimension_names == names
    units = store.dimension_units[-3:]
    assert [unit.base_unit for unit in units] == ["nm"] * 3
    assert [unit.multiplier for unit in units] == pytest.approx(size, rel=1e-9)
    if channels:
        assert store.dimension_units[0] is None
    else:
        found = open_volume(str(path)).frame
        assert found is not None and found.is_close(frame)


@pytest.mark.parametrize(("name", "channels"), [("affinities", True), ("fragments", False), ("segmentation", False)])
def test_the_arrays_of_a_run_open_at_the_right_scale(finished_run: Path, name: str, channels: bool) -> None:
    path = finished_run / "out.zarr" / name
    store = tensorstore.open({"driver": "zarr3", "kvstore": path.as_uri()}).result()
    lead, names = ((3,), ("c",)) if channels else ((), ())
    assert store.shape == (*lead, 40, 50, 60)
    assert store.domain.labels == (*names, "z", "y", "x")
    assert store.dimension_units == (*([None] if channels else []), *[tensorstore.Unit("10 nm")] * 3)
    # Neuroglancer takes the names from the metadata, and from the attribute one unit or null per axis.
    metadata = json.loads((path / "zarr.json").read_text())
    assert metadata["dimension_names"] == [*names, "z", "y", "x"]
    assert metadata["attributes"]["dimension_units"] == [*([None] if channels else []), "10 nm", "10 nm", "10 nm"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("lost", [("dimension_names",), ("dimension_units",), ("dimension_names", "dimension_units")])
def test_an_array_gets_what_it_lacks_and_nothing_else(
    tmp_path: Path, size: tuple[float, float, float], channels: bool, lost: tuple[str, ...]
) -> None:
    _, output = made(tmp_path, size, channels)
    path = tmp_path / "out.zarr" / "array" / "zarr.json"
    wanted = json.loads(path.read_text())
    strip(path, lost)
    added, data = output.with_axes("array")
    assert added == lost and "dimension_units" in json.loads(data)["attributes"]
    output.replace_metadata("array", data)
    found = json.loads(path.read_text())
    for document in (found, wanted):  # our attributes round to picometres
        units = document["attributes"].pop("dimension_units")
        document["nm"] = [None if unit is None else float(unit.removesuffix(" nm")) for unit in units]
    assert found.pop("nm")[-3:] == pytest.approx(wanted.pop("nm")[-3:], abs=5e-4)
    assert found == wanted
    assert output.with_axes("array")[0] == ()


def test_names_that_somebody_gave_stay(tmp_path: Path) -> None:
    _, output = made(tmp_path, SIZES[0], channels=False)
    path = tmp_path / "out.zarr" / "array" / "zarr.json"
    document = json.loads(path.read_text())
    document["dimension_names"] = ["depth", "height", "width"]
    path.write_text(json.dumps(document))
    strip(path, ("dimension_units",))
    added, data = output.with_axes("array")
    assert added == ("dimension_units",) and json.loads(data)["dimension_names"] == ["depth", "height", "width"]


def strip(path: Path, names: tuple[str, ...]) -> None:
    """Make the metadata of an array those of an earlier version."""
    document = json.loads(path.read_text())
    for name in names:
        (document if name == "dimension_names" else document["attributes"]).pop(name)
    path.write_text(json.dumps(document))
