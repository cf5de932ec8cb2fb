"""Exports as OME-Zarr, opened by ome-zarr-models, ome-zarr, TensorStore and zarr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models import open_ome_zarr
from pipeline_tools import Command, Refused, read
from pyramid_tools import Voxels, pyramid

from fgnet_pipeline.store.volume import open_volume

VOXEL_SIZE, OFFSET = (40.0, 4.0, 4.0), (400.0, -8.0, 12.5)
PLACE = ("--set", "volume.voxel_size=[40,4,4]", "--set", "volume.offset=[400,-8,12.5]")
STEPS = [(1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2)]
ARRAYS = {"raw": "", "affinities": "affinities", "fragments": "labels/fragments", "segmentation": "labels/segmentation"}


@pytest.fixture(scope="module")
def ome(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., None]) -> Path:
    """All arrays of `finished_run` in five levels, as if it had thick sections and an offset."""
    to = tmp_path_factory.mktemp("ome") / "all.ome.zarr"
    arrays = [word for name in ARRAYS for word in ("--array", name)]
    run_command("export", finished_run / "config.toml", "ome-zarr", "--to", to, "--levels", 5, *arrays, *PLACE)
    return to


def levels_at(to: Path, path: str, count: int = 5) -> list[Voxels]:
    return [np.asarray(zarr.open_array(to / path / str(level), mode="r")[...]) for level in range(count)]


def stored(run: Path, name: str) -> Voxels:
    return read(run, name) if name == "raw.zarr" else read(run / "out.zarr", name)


@pytest.mark.parametrize("name", ARRAYS)
def test_levels_are_those_of_plain_python(name: str, ome: Path, finished_run: Path) -> None:
    whole = stored(finished_run, "raw.zarr" if name == "raw" else name)
    found = levels_at(ome, ARRAYS[name])
    region = ((0, 0, 0), whole.shape[-3:])
    is_label = name in ("fragments", "segmentation")
    for level, wanted in zip(found, [whole, *pyramid(whole, region, STEPS, is_label)], strict=True):
        assert level.dtype == whole.dtype
        np.testing.assert_array_equal(level, wanted)


def test_the_metadata_are_valid(ome: Path) -> None:
    for path, kind in (("", "Image"), ("affinities", "Image"), ("labels", "Labels"), ("labels/segmentation", None)):
        opened = open_ome_zarr(zarr.open_group(ome / path, mode="r"))
        assert opened.ome_zarr_version == "0.5"
        assert type(opened).__name__ == (kind or "ImageLabel")
        spaces = (
            [a for m in opened.attributes.ome.multiscales for a in m.axes if a.type == "space"]
            if kind != "Labels"
            else []
        )
        assert all(axis.unit == "nanometer" for axis in spaces)
    assert open_ome_zarr(zarr.open_group(ome / "labels", mode="r")).attributes.ome.labels == [
        "fragments",
        "segmentation",
    ]


def test_ome_zarr_reads_every_level_at_its_place(ome: Path, finished_run: Path) -> None:
    nodes = {Path(node.zarr.basename()).name or "": node for node in Reader(parse_url(ome))()}
    factors = np.cumprod([(1, 1, 1), *STEPS], axis=0)
    for name, whole in (("all.ome.zarr", stored(finished_run, "raw.zarr")),
                        ("segmentation", stored(finished_run, "segmentation"))):  # fmt: skip
        node = nodes[name]
        assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
        assert len(node.data) == 5
        for data, transformations, factor in zip(
            node.data, node.metadata["coordinateTransformations"], factors, strict=True
        ):
            assert data.shape == tuple(-(-n // f) for n, f in zip(whole.shape, factor, strict=True))
            size = np.multiply(VOXEL_SIZE, factor)
            assert transformations[0]["scale"] == size.tolist()
            assert transformations[1]["translation"] == (np.add(OFFSET, size / 2)).tolist()
        np.testing.assert_array_equal(node.data[0][5:20, 10:30, 7:19].compute(), whole[5:20, 10:30, 7:19])


def test_tensorstore_reads_names_units_and_voxels(ome: Path, finished_run: Path) -> None:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{ome}/labels/segmentation/2/"}}
    array = ts.open(spec, open=True).result()
    assert array.domain.labels == ("z", "y", "x")
    assert [unit.to_json() for unit in array.dimension_units] == [[40.0, "nm"], [16.0, "nm"], [16.0, "nm"]]
    np.testing.assert_array_equal(array.read().result(), levels_at(ome, "labels/segmentation")[2])


def test_our_reader_finds_the_corner(ome: Path) -> None:
    for path, level in (("", 0), ("", 3), ("labels/segmentation", 1)):
        frame = open_volume(str(ome / path / str(level))).frame
        factor = np.prod([(1, 1, 1), *STEPS[:level]], axis=0)
        assert frame is not None
        assert frame.voxel_size == tuple(np.multiply(VOXEL_SIZE, factor))
        assert frame.offset == OFFSET


def test_without_an_image_the_root_is_the_group_of_labels(finished_run: Path, tmp_path: Path, command: Command) -> None:
    to = tmp_path / "labels"
    code, told, _ = command("export", finished_run / "out.zarr", "ome-zarr", "--to", to, "--array", "segmentation",
                            "--compact-ids", "--levels", 2)  # fmt: skip
    assert code == 0
    assert told.splitlines() == [
        f"stored and compact ids of segments: {to}.segments.ids.parquet",
        f"segmentation: {to}/segmentation (2 levels)",
    ]
    assert type(open_ome_zarr(zarr.open_group(to, mode="r"))).__name__ == "Labels"
    assert type(open_ome_zarr(zarr.open_group(to / "segmentation", mode="r"))).__name__ == "ImageLabel"
    whole = stored(finished_run, "segmentation")
    ids = np.union1d(whole, np.zeros(1, np.uint64))
    compact = np.searchsorted(ids, whole).astype(np.uint32)
    expected = [compact, *pyramid(compact, ((0, 0, 0), whole.shape), [(2, 2, 2)], True)]
    for level, wanted in zip(levels_at(to, "segmentation", 2), expected, strict=True):
        assert level.dtype == np.uint32
        np.testing.assert_array_equal(level, wanted)


def test_cells_at_the_border_of_a_region_use_the_children_inside(
    region_run: Path, tmp_path: Path, command: Command
) -> None:
    to = tmp_path / "region"
    assert command("export", region_run / "out.zarr", "ome-zarr", "--to", to, "--levels", 3)[0] == 0
    region = ((5, 3, 7), (27, 39, 45))
    raw = np.zeros_like(stored(region_run, "raw.zarr"))
    inside = tuple(slice(b, e) for b, e in zip(*region, strict=True))
    raw[inside] = stored(region_run, "raw.zarr")[inside]
    for path, whole in (("", raw), ("labels/segmentation", stored(region_run, "segmentation"))):
        wanted = [whole, *pyramid(whole, region, [(2, 2, 2)] * 2, bool(path))]
        for level, expected in zip(levels_at(to, path, 3), wanted, strict=True):
            np.testing.assert_array_equal(level, expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--array", "labels"), "expected one of raw, affinities, fragments, segmentation"),
        (("--levels", "20"), "expected at most 7 levels"),
        (("--segment", "5"), "expected no such option for ome-zarr"),
        (("--min-voxels", "5"), "expected no such option for ome-zarr"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: tuple[Any, ...], said: str, finished_run: Path, tmp_path: Path, refused: Refused
) -> None:
    assert said in refused("export", finished_run / "out.zarr", "ome-zarr", "--to", tmp_path / "new", *arguments)
    assert list(tmp_path.iterdir()) == []
