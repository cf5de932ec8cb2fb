"""Axes, voxel sizes and offsets of N5: of Neuroglancer, n5-viewer, Paintera and COSEM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_files import RAW, write_n5

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import whole
from fgnet_pipeline.datasets.convert import plan
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request, Source

Size = tuple[float, float, float]


def opened(path: Path | str) -> Source:
    return open_source(Request(str(path), "--raw"))


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
