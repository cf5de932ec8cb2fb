"""The whole pipeline on small volumes: what must not depend on how the work is divided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from pipeline_tools import (
    ATTRIBUTES,
    assert_same_output,
    cells,
    fgnet,
    files_of,
    read,
    records,
    script,
    standard_config,
    write_config,
    write_volume,
)

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import lut
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.stages.configuration import load_config

SHAPE = (50, 60, 70)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_volume(tmp_path_factory.mktemp("raw") / "raw.zarr", cells(SHAPE))


@pytest.fixture(scope="module")
def reference(raw: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A serial run of all stages in blocks of 24 voxels."""
    folder = tmp_path_factory.mktemp("reference")
    run(load_config(standard_config(folder, raw)))
    return folder / "out.zarr"


def test_affinities_are_what_the_network_says(raw: str, reference: Path) -> None:
    volume = read(raw, "")
    affinities = read(reference, "affinities")
    assert affinities.shape == (3, *SHAPE)
    assert np.abs(affinities.astype(int) - volume.astype(int)).max() <= 1


def test_fragments_are_connected_and_named_by_their_block(reference: Path) -> None:
    fragments = read(reference, "fragments")
    assert (fragments > 0).all(), "every voxel of tissue belongs to a fragment"
    for z in range(0, SHAPE[0], 24):
        block = fragments[z : z + 24, :24, :24]
        assert set(np.unique(block >> 27 >> 24)) == {z // 24}


def test_segmentation_equals_one_global_agglomeration(reference: Path) -> None:
    fragments, affinities = read(reference, "fragments"), read(reference, "affinities")
    everything = tuple(slice(0, n) for n in fragments.shape)
    edges = block_edges(affinities, fragments, everything)
    tree = agglomerate(edges.u, edges.v, edges.sum, edges.count).merges
    ids, position = np.unique(fragments, return_inverse=True)
    expected = lut(ids, tree, 0.5)[position].reshape(fragments.shape)
    segmentation = read(reference, "segmentation")
    assert np.array_equal(segmentation, expected)
    assert 1 < len(np.unique(segmentation)) < len(ids)


def test_every_block_has_one_record(reference: Path) -> None:
    for stage in ("predict", "fragments", "edges", "relabel"):
        found = records(reference, stage)
        assert len(found) == len({tuple(r["block"]) for r in found}) == 3 * 3 * 3
        assert all(r["checksum"].startswith("crc32c:") and len(r["key"]) == 16 for r in found)


@pytest.mark.parametrize("block", [[16, 16, 16], [60, 61, 80], [17, 33, 29]])
def test_affinities_do_not_depend_on_the_block_grid(raw: str, reference: Path, tmp_path: Path, block: list) -> None:
    config = standard_config(tmp_path, raw, block_shape=block)
    run(load_config(config), ("predict",))
    assert np.array_equal(read(tmp_path / "out.zarr", "affinities"), read(reference, "affinities"))


@pytest.mark.parametrize("block, leaf", [([16, 16, 16], 1), ([24, 24, 24], 2), ([19, 40, 33], 3), ([64, 64, 96], 1)])
def test_segmentation_given_the_fragments_does_not_depend_on_the_blocks(
    raw: str, reference: Path, tmp_path: Path, block: list, leaf: int
) -> None:
    config = write_config(
        tmp_path / "c.toml",
        volume={"path": raw},
        output={"path": str(tmp_path / "out.zarr")},
        affinities={"path": str(reference / "affinities")},
        fragments={"path": str(reference / "fragments")},
        schedule={"workers": 0, "block_shape": block},
        agglomerate={"leaf_blocks": leaf},
    )
    run(load_config(config))
    assert np.array_equal(read(tmp_path / "out.zarr", "segmentation"), read(reference, "segmentation"))


@pytest.mark.parametrize("leaf", [2, 3, 8])
def test_octree_does_not_change_tree_or_segmentation(raw: str, reference: Path, tmp_path: Path, leaf: int) -> None:
    config = standard_config(tmp_path, raw)
    run(load_config(config, [f"agglomerate.leaf_blocks={leaf}"]))
    assert files_of(tmp_path / "out.zarr", "segmentation") == files_of(reference, "segmentation")


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_do_not_change_a_byte(raw: str, reference: Path, tmp_path: Path, workers: int) -> None:
    script("run_predict.py", standard_config(tmp_path, raw), "--workers", workers)
    script("run_agglomerate.py", tmp_path / "config.toml", "--workers", workers)
    assert_same_output(reference, tmp_path / "out.zarr")


def test_second_run_does_nothing(raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, raw)
    run(load_config(config))
    before = {s: len(records(tmp_path / "out.zarr", s)) for s in ("predict", "fragments", "edges", "relabel")}
    files = files_of(tmp_path / "out.zarr", "segmentation")
    run(load_config(config))
    assert before == {s: len(records(tmp_path / "out.zarr", s)) for s in before}
    assert files == files_of(tmp_path / "out.zarr", "segmentation")


def test_another_threshold_redoes_lut_and_relabelling_only(raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, raw)
    out = tmp_path / "out.zarr"
    run(load_config(config))
    first = read(out, "segmentation")
    script("run_agglomerate.py", config, "--set", "agglomerate.threshold=0.9")
    assert len(records(out, "fragments")) == len(records(out, "edges")) == 27
    assert len(records(out, "relabel")) == 2 * 27
    assert len(np.unique(read(out, "segmentation"))) > len(np.unique(first))
    run(load_config(config))
    assert np.array_equal(read(out, "segmentation"), first)


def test_grown_region_equals_a_run_from_scratch(raw: str, reference: Path, tmp_path: Path) -> None:
    config = standard_config(tmp_path, raw)
    small = "volume.roi=[[0,0,0],[300,350,700]]"
    run(load_config(config, [small]))
    out = tmp_path / "out.zarr"
    kept = files_of(out, "fragments")["c/0/0/0"]
    assert (read(out, "segmentation")[30:] == 0).all()
    run(load_config(config))
    assert_same_output(reference, out)
    assert files_of(out, "fragments")["c/0/0/0"] == kept
    per_block: dict[tuple, int] = {}
    for record in records(out, "predict"):
        per_block[tuple(record["block"])] = per_block.get(tuple(record["block"]), 0) + 1
    assert per_block[0, 0, 0] == 1, "a block that the growth does not touch is not redone"
    assert per_block[1, 1, 0] == 2, "a block that the old region cut is redone"


def test_mask_selects_blocks_and_zeroes_fragments(raw: str, tmp_path: Path) -> None:
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


def test_a_mask_that_shrinks_gives_what_it_gives_from_scratch(raw: str, tmp_path: Path) -> None:
    mask = np.zeros((25, 30, 35), np.uint8)
    mask[:, :, :13] = 1
    path = write_volume(tmp_path / "mask.zarr", mask, dict(ATTRIBUTES, voxel_size=[20, 20, 20]))
    config = standard_config(tmp_path, raw)
    masked, fresh = f"volume.mask={path}", f"output.path={tmp_path / 'fresh.zarr'}"
    run(load_config(config))
    run(load_config(config, [masked]))
    run(load_config(config, [masked, fresh]))
    for name in ("fragments", "segmentation"):
        assert np.array_equal(read(tmp_path / "out.zarr", name), read(tmp_path / "fresh.zarr", name))


def test_agglomeration_refuses_affinities_of_another_volume(raw: str, reference: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "out.zarr"
    shutil.copytree(reference, out)
    other = write_volume(tmp_path / "other.zarr", cells(SHAPE, seed=5))
    config = standard_config(tmp_path, other)
    done = script("run_agglomerate.py", config, check=False)
    assert done.returncode == 2 and "predict stage is stale" in done.stderr and "volume" in done.stderr
    done = script("run_agglomerate.py", config, "--set", f"volume.path={raw}")
    assert_same_output(reference, out)


def test_a_killed_redo_goes_on_where_it_was(raw: str, reference: Path, tmp_path: Path) -> None:
    import shutil

    from fgnet_pipeline.execution.resume import REDO_FILE

    out = tmp_path / "out.zarr"
    shutil.copytree(reference, out)
    (out / "progress" / REDO_FILE).write_text('{"stage": "edges"}')
    config = load_config(standard_config(tmp_path, raw))
    run(config, redo="edges")
    assert len(records(out, "edges")) == 27, "what the killed redo had finished is kept"
    run(config, redo="edges")
    assert len(records(out, "edges")) == 27 and not (out / "progress" / REDO_FILE).exists()
    newest = max(record["run"] for record in records(out, "edges"))
    assert all(record["run"] == newest for record in records(out, "edges"))
    assert_same_output(reference, out)


def test_blank_and_tiny_volumes(tmp_path: Path) -> None:
    data = cells((5, 40, 40))
    data[2] = 0
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", data), block_shape=[16, 32, 32])
    for method in ("volume", "sections", "waterz"):
        run(load_config(config, [f"fragments.method={method}", f"output.path={tmp_path / method}"]))
        assert (read(tmp_path / method, "segmentation") > 0).all()


def test_all_background_gives_an_empty_but_finished_output(tmp_path: Path) -> None:
    raw = write_volume(tmp_path / "raw.zarr", np.zeros((20, 20, 20), np.uint8))
    run(load_config(standard_config(tmp_path, raw)))
    assert len(np.unique(read(tmp_path / "out.zarr", "segmentation"))) >= 1


def test_float_affinities_with_nan(tmp_path: Path, reference: Path) -> None:
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
def test_any_zarr_layout(raw: str, reference: Path, tmp_path: Path, layout: str) -> None:
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


def test_output_opens_with_funlib_even_at_fractional_sizes(raw: str, tmp_path: Path) -> None:
    from funlib.persistence import open_ds

    config = standard_config(tmp_path, raw)
    run(load_config(config, ["volume.voxel_size=[9.6,4.5,4.0]", "volume.offset=[0,45,8]"]))
    for name in ("affinities", "fragments", "segmentation"):
        array = open_ds(str(tmp_path / "out.zarr" / name))
        unit = {"angstrom": 10, "nm": 1}[array.units[-1]]
        assert list(np.divide(array.voxel_size, unit)) == [9.6, 4.5, 4.0]
        assert list(np.divide(array.roi.offset, unit)) == [0, 45, 8]


def test_status_and_dry_run(raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, raw)
    planned = fgnet("run", config, "--dry-run")
    assert "27 of 27" in planned.stdout and not (tmp_path / "out.zarr").exists()
    script("run_predict.py", config)
    status = json.loads(fgnet("status", config, "--json").stdout)
    stages = {s["stage"]: s for s in status["stages"]}
    assert not status["running"] and status["driver"]["run"] == 1 and status["failures"] == []
    assert (stages["predict"]["done"], stages["predict"]["left"]) == (27, 0)
    made = records(tmp_path / "out.zarr", "predict")
    assert stages["predict"]["voxels_per_second"] > 0
    assert stages["predict"]["seconds_per_block"] == pytest.approx(np.mean([r["seconds"] for r in made]))
    assert stages["predict"]["peak_memory"] == max(r["peak_memory"] for r in made)
    assert stages["predict"]["hosts"] == [made[0]["host"]]
    assert (stages["edges"]["done"], stages["edges"]["left"], stages["edges"]["failed"]) == (0, 27, 0)


def test_moved_output_is_not_stale(raw: str, reference: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(reference, tmp_path / "moved.zarr")
    config = standard_config(tmp_path, raw)
    run(load_config(config, [f"output.path={tmp_path / 'moved.zarr'}"]))
    assert len(records(tmp_path / "moved.zarr", "predict")) == 27


def test_deleted_array_is_made_again(raw: str, reference: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "out.zarr"
    shutil.copytree(reference, out)
    shutil.rmtree(out / "affinities")
    run(load_config(standard_config(tmp_path, raw)))
    assert_same_output(reference, out)


def test_torn_shard_is_replaced_on_redo(raw: str, reference: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "out.zarr"
    shutil.copytree(reference, out)
    (out / "fragments" / "c" / "0" / "0" / "0").write_bytes(b"torn")
    run(load_config(standard_config(tmp_path, raw)), redo="fragments")
    assert_same_output(reference, out)
