"""Exports as precomputed volumes, read back by cloud-volume and TensorStore."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorstore as ts
from cloudvolume import CloudVolume
from pipeline_tools import Command, Refused, read
from pyramid_tools import Voxels, pyramid

#: Voxels of 10 nm; the offset is a multiple of four of them.
OFFSET = (400.0, -80.0, 120.0)
PLACE = ("--set", "volume.offset=[400,-80,120]")
STEPS = [(2, 2, 2), (2, 2, 2)]


@pytest.fixture(scope="module")
def volume(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., None]) -> Path:
    """The segmentation of `finished_run` in three scales, at an offset."""
    to = tmp_path_factory.mktemp("precomputed") / "volume"
    arguments = ("--levels", 3, "--min-voxels", 200, *PLACE)
    run_command("export", finished_run / "config.toml", "precomputed", "--to", to, *arguments)
    return to


def scale(to: Path, mip: int) -> Any:
    return CloudVolume(f"file://{to}", mip=mip, progress=False, bounded=True)


def voxels(to: Path, mip: int) -> Voxels:
    """A whole scale, zyx or (C, z, y, x)."""
    found = np.asarray(scale(to, mip)[:]).T
    return found if found.shape[0] > 1 else found[0]


def test_every_scale_is_that_of_plain_python_at_its_place(volume: Path, finished_run: Path) -> None:
    whole = read(finished_run / "out.zarr", "segmentation")
    for mip, wanted in enumerate([whole, *pyramid(whole, ((0, 0, 0), whole.shape), STEPS, True)]):
        found = scale(volume, mip)
        assert found.dtype == np.uint64
        assert tuple(found.resolution) == (10.0 * 2**mip,) * 3
        assert tuple(found.voxel_offset * found.resolution) == OFFSET[::-1]
        assert tuple(found.volume_size) == wanted.shape[::-1]
        np.testing.assert_array_equal(voxels(volume, mip), wanted)


def test_one_region_and_tensorstore(volume: Path, finished_run: Path) -> None:
    whole = read(finished_run / "out.zarr", "segmentation")
    x, y, z = 12, -8, 40  # voxel 0, in voxels of the world
    region = np.asarray(scale(volume, 0)[x + 10 : x + 40, y + 5 : y + 45, z + 3 : z + 33])[..., 0].T
    np.testing.assert_array_equal(region, whole[3:33, 5:45, 10:40])
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{volume}/"}}
    array = ts.open(spec | {"scale_index": 0}, open=True).result()
    assert array.domain.origin == (x, y, z, 0)
    np.testing.assert_array_equal(array.read().result()[..., 0].T, whole)


def test_properties_are_the_sizes_of_segments(volume: Path, finished_run: Path) -> None:
    assert json.loads((volume / "info").read_text())["segment_properties"] == "segment_properties"
    document = json.loads((volume / "segment_properties" / "info").read_text())
    assert document["@type"] == "neuroglancer_segment_properties"
    (sizes,) = document["inline"]["properties"]
    assert (sizes["type"], sizes["data_type"]) == ("number", "uint32")
    ids, counts = np.unique(read(finished_run / "out.zarr", "segmentation"), return_counts=True)
    wanted = {str(id_): int(n) for id_, n in zip(ids, counts, strict=True) if id_ != 0 and n >= 200}
    assert dict(zip(document["inline"]["ids"], sizes["values"], strict=True)) == wanted
    assert 0 < len(wanted) < len(ids) - 1


def test_compact_ids_are_a_bijection(finished_run: Path, tmp_path: Path, command: Command) -> None:
    to = tmp_path / "compact"
    arguments = ("precomputed", "--to", to, "--compact-ids", "--levels", 1)
    assert command("export", finished_run / "out.zarr", *arguments)[0] == 0
    whole, found = read(finished_run / "out.zarr", "segmentation"), voxels(to, 0)
    assert found.dtype == np.uint32
    table = pq.read_table(tmp_path / "compact.segments.ids.parquet")
    stored, compact = (np.asarray(table[name]) for name in ("id", "compact"))
    assert sorted(compact) == list(range(1, len(np.unique(whole[whole > 0])) + 1))
    back = np.zeros(len(stored) + 1, np.uint64)
    back[compact] = stored
    np.testing.assert_array_equal(back[found], whole)
    document = json.loads((to / "segment_properties" / "info").read_text())["inline"]
    assert dict(zip(document["ids"], document["properties"][0]["values"], strict=True)) == {
        str(id_): int(n) for id_, n in zip(*np.unique(found[found > 0], return_counts=True), strict=True)
    }


@pytest.mark.parametrize("name", ["raw", "affinities", "fragments"])
def test_other_arrays(name: str, region_run: Path, tmp_path: Path, command: Command) -> None:
    to, region = tmp_path / name, ((5, 3, 7), (27, 39, 45))
    arguments = ("precomputed", "--to", to, "--array", name, "--levels", 2)
    assert command("export", region_run / "out.zarr", *arguments)[0] == 0
    whole = read(region_run, "raw.zarr") if name == "raw" else read(region_run / "out.zarr", name)
    inside = tuple(slice(b, e) for b, e in zip(*region, strict=True))
    cut = np.zeros_like(whole)
    cut[(..., *inside)] = whole[(..., *inside)]
    for mip, wanted in enumerate([cut, *pyramid(cut, region, STEPS[:1], name == "fragments")]):
        assert scale(to, mip).layer_type == ("segmentation" if name == "fragments" else "image")
        np.testing.assert_array_equal(voxels(to, mip), wanted)
    assert not (to / "segment_properties").exists()


def test_scales_that_cannot_be_placed_are_left_out_or_refused(
    finished_run: Path, tmp_path: Path, command: Command, refused: Refused
) -> None:
    run, to = finished_run / "config.toml", tmp_path / "volume"
    odd = ("--set", "volume.offset=[20,0,0]")  # two voxels
    text = refused("export", run, "precomputed", "--to", to, "--levels", 3, *odd)
    assert "--levels = 3: expected at most 2" in text
    text = refused("export", run, "precomputed", "--to", to, "--set", "volume.offset=[0,5,0]")
    assert "volume.offset" in text
    assert "a multiple of the voxel size" in text
    assert not to.exists()
    assert command("export", run, "precomputed", "--to", to, "--levels", 2, *odd)[0] == 0
    assert tuple(scale(to, 1).voxel_offset) == (0, 0, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--array", "raw", "--array", "segmentation"), "expected one array"),
        (("--array", "raw", "--min-voxels", "3"), "only segments get properties"),
        (("--array", "mask"), "expected one of raw, affinities, fragments, segmentation"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: tuple[Any, ...], said: str, finished_run: Path, tmp_path: Path, refused: Refused
) -> None:
    assert said in refused("export", finished_run / "out.zarr", "precomputed", "--to", tmp_path / "new", *arguments)
    assert list(tmp_path.iterdir()) == []
