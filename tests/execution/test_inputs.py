"""What may be given as input: masks, blank volumes, affinities, and raw volumes of every layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from funlib.persistence import open_ds
from pipeline_tools import ATTRIBUTES, cells, read, records, standard_config, write_config, write_volume

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config


def test_a_mask_selects_blocks_and_zeroes_fragments(raw: str, tmp_path: Path) -> None:
    mask = np.zeros((25, 30, 35), np.uint8)
    mask[:, :, :13] = 1
    coarse = dict(ATTRIBUTES, voxel_size=[20, 20, 20])
    path = write_volume(tmp_path / "mask.zarr", mask, coarse)
    config = standard_config(tmp_path, raw)
    run(load_config(config, [f"volume.mask={path}"]))
    out = tmp_path / "out.zarr"
    fragments = read(out, "fragments")
    assert (fragments[:, :, :26] > 0).all()
    assert (fragments[:, :, 26:] == 0).all()
    assert (read(out, "segmentation")[:, :, 26:] == 0).all()
    assert {r["block"][2] for r in records(out, "predict")} == {0, 1}, "blocks without tissue are not scheduled"
    run(load_config(config))
    assert (read(out, "fragments") > 0).all()


def test_blank_sections_and_tiny_volumes_are_segmented(tmp_path: Path) -> None:
    data = cells((5, 40, 40))
    data[2] = 0
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", data), block_shape=[16, 32, 32])
    for method in ("volume", "sections", "waterz"):
        run(load_config(config, [f"fragments.method={method}", f"output.path={tmp_path / method}"]))
        assert (read(tmp_path / method, "segmentation") > 0).all()


def test_all_background_gives_an_empty_but_finished_output(tmp_path: Path) -> None:
    data = np.zeros((20, 20, 20), np.uint8)
    data[0, 0, 0] = 1  # so that its chunk is stored
    raw = write_volume(tmp_path / "raw.zarr", data)
    run(load_config(standard_config(tmp_path, raw)))
    assert len(np.unique(read(tmp_path / "out.zarr", "segmentation"))) >= 1


def test_float_affinities_may_hold_nan(tmp_path: Path, reference: Path) -> None:
    affinities = read(reference, "affinities").astype(np.float32) / 255
    affinities[:, 7, 8, 9] = np.nan
    path = tmp_path / "affinities.zarr"
    array = zarr.create_array(str(path), shape=affinities.shape, dtype="float32", chunks=(3, 20, 20, 20))
    array[:] = affinities
    config = write_config(
        tmp_path / "c.toml",
        volume={"voxel_size": [10.0, 10.0, 10.0]},
        affinities={"path": str(path)},
        output={"path": str(tmp_path / "out.zarr")},
        schedule={"workers": 0, "block_shape": [24, 24, 24]},
    )
    run(load_config(config))
    assert (read(tmp_path / "out.zarr", "segmentation") > 0).all()


@pytest.mark.parametrize("layout", ["v2", "sharded", "ome", "uint16", "xyz", "channel"])
def test_every_zarr_layout_gives_the_same_segmentation(raw: str, reference: Path, tmp_path: Path, layout: str) -> None:
    data, extra, path, kwargs, attributes = read(raw, ""), [], tmp_path / "raw.zarr", {}, dict(ATTRIBUTES)
    if layout == "v2":
        kwargs = {"zarr_format": 2}
    elif layout == "sharded":
        kwargs = {"chunks": (10, 10, 10), "shards": (20, 30, 40)}
    elif layout == "uint16":
        data, extra = data.astype(np.uint16) * 257, ["volume.range=[0,65535]"]
    elif layout == "xyz":
        data, attributes = data.transpose(2, 1, 0), {**attributes, "axis_names": ["x", "y", "z"]}
    elif layout == "channel":
        data, attributes = data[None], {"voxel_size": [10, 10, 10]}
    elif layout == "ome":
        group = zarr.open_group(str(tmp_path / "ome.zarr"), mode="w")
        axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
        scale = [{"type": "scale", "scale": [0.01, 0.01, 0.01]}]
        datasets = [{"path": "s0", "coordinateTransformations": scale}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
        path, attributes = tmp_path / "ome.zarr" / "s0", {}
    stored = write_volume(path, data, attributes, **kwargs)
    run(load_config(standard_config(tmp_path, stored), extra))
    assert np.array_equal(read(tmp_path / "out.zarr", "segmentation"), read(reference, "segmentation"))


def test_the_output_opens_with_funlib_even_at_fractional_sizes(raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, raw)
    run(load_config(config, ["volume.voxel_size=[9.6,4.5,4.0]", "volume.offset=[0,45,8]"]))
    for name in ("affinities", "fragments", "segmentation"):
        array = open_ds(str(tmp_path / "out.zarr" / name))
        unit = {"angstrom": 10, "nm": 1}[array.units[-1]]
        assert list(np.divide(array.voxel_size, unit)) == [9.6, 4.5, 4.0]
        assert list(np.divide(array.roi.offset, unit)) == [0, 45, 8]
