"""Names and units of axes in our arrays, as other programs read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorstore
import zarr

from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.volume import open_volume

SIZES = [(10.0, 10.0, 10.0), (40.0, 4.0, 4.0), (29.5, 4.6, 10 / 3)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [False, True])
def test_other_programs_find_names_and_units(tmp_path: Path, size: tuple[float, float, float], channels: bool) -> None:
    frame = Frame(size, (1000.0, 0.0, 20.0))
    output = Output(str(tmp_path / "out.zarr"))
    output.create()
    lead = (3,) if channels else ()
    output.create_array(
        "array", shape=(*lead, 32, 32, 32), dtype="uint8", shard=(32, 32, 32), chunk=(16, 16, 16),
        attributes=frame.attributes(channels=channels),
    )  # fmt: skip
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
