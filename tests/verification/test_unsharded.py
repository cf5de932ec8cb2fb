"""Outputs without shards (`output.shard_shape` is the shape of a chunk): values, damage, repair, other programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from cloudvolume import CloudVolume
from damage_tools import ONE, assert_mended, assert_untouched, change_record, flip, shard, state, truncate
from pipeline_tools import Command, Refused, files_of, read, records, standard_config

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.planning.estimate import estimate
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.verification.verify import verify

ARRAYS = ("affinities", "fragments", "segmentation")
#: A chunk in the middle of block ONE of 24 voxels per axis; a block has 2 x 2 x 2 chunks.
INNER = (1, 3, 2)


def unsharded_config(folder: Path, raw: Path, shape: int = 12) -> Path:
    config = standard_config(folder, str(raw), leaf_blocks=2)
    config.write_text(config.read_text().replace("[output]", f"[output]\nshard_shape = {[shape] * 3}"))
    return config


@pytest.fixture(scope="module")
def unsharded(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on the volume of `finished_run`, without shards; no test changes it."""
    folder = tmp_path_factory.mktemp("unsharded")
    run(load_config(unsharded_config(folder, finished_run / "raw.zarr")))
    return folder


@pytest.fixture
def copied(unsharded: Path, finished_run: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(configuration, output) of a copy of `unsharded`, which the test may change."""
    shutil.copytree(unsharded / "out.zarr", tmp_path / "out.zarr")
    return unsharded_config(tmp_path, finished_run / "raw.zarr"), tmp_path / "out.zarr"


@pytest.mark.parametrize("name", ARRAYS)
def test_the_values_are_those_of_a_run_with_shards(unsharded: Path, finished_run: Path, name: str) -> None:
    array = zarr.open_array(unsharded / "out.zarr" / name, mode="r")
    assert array.shards is None and array.chunks[-3:] == (12, 12, 12)
    assert [codec["name"] for codec in array.metadata.to_dict()["codecs"]] == ["bytes", "zstd", "crc32c"]
    assert np.array_equal(array[:], read(finished_run / "out.zarr", name))
    stored = {p.stat().st_size for p in (unsharded / "out.zarr" / name / "c").rglob("*") if p.is_file()}
    assert len(stored) > 18 and 0 not in stored


@pytest.mark.parametrize("name", ARRAYS)
def test_tensorstore_reads_regular_chunks(unsharded: Path, finished_run: Path, name: str) -> None:
    path = unsharded / "out.zarr" / name
    store = tensorstore.open({"driver": "zarr3", "kvstore": path.as_uri()}, open=True).result()
    shape = read(finished_run / "out.zarr", name).shape
    chunk = (*shape[:-3], 12, 12, 12)
    assert store.shape == shape
    assert store.chunk_layout.write_chunk.shape == store.chunk_layout.read_chunk.shape == chunk
    assert np.array_equal(store.read().result(), read(finished_run / "out.zarr", name))


@pytest.mark.parametrize("name", ["fragments", "segmentation"])
def test_cloud_volume_reads_the_ids(unsharded: Path, name: str) -> None:
    """It refuses arrays with shards. It takes no voxel size from attributes of arrays."""
    volume = CloudVolume(f"zarr3://file://{unsharded / 'out.zarr' / name}", progress=False)
    found = np.asarray(volume[:, :, :])[..., 0].T  # x, y, z
    assert found.dtype == np.uint64 and np.array_equal(found, read(unsharded / "out.zarr", name))


def test_a_plan_counts_each_chunk_as_a_file(unsharded: Path, command: Command) -> None:
    found = estimate(load_config(unsharded / "config.toml"))
    for array in found.arrays:
        assert array.shard_shape == array.chunk_shape == [12, 12, 12]
        assert array.shards == array.chunks == 18 * 8
    _, text, _ = command("plan", unsharded / "config.toml")
    assert "144 chunks of 12x12x12" in " ".join(text.split()) and "shards" not in text


def remove_block(out: Path) -> None:
    """Every chunk of block ONE of the fragments."""
    for index in np.ndindex(2, 2, 2):
        shard(out, "fragments", tuple(2 * b + i for b, i in zip(ONE, index, strict=True))).unlink()  # type: ignore[arg-type]


def test_damaged_chunks_are_named_and_mended(unsharded: Path, copied: tuple[Path, Path]) -> None:
    config, out = copied
    flip(shard(out, "affinities", (0, 0, 0)), 20)
    shard(out, "affinities", INNER).unlink()
    flip(shard(out, "fragments", (0, 0, 0)), -1)
    os.truncate(shard(out, "fragments", (0, 0, 2)), 0)
    remove_block(out)
    truncate(shard(out, "segmentation", (0, 0, 0)))
    shutil.copy(shard(out, "segmentation", (1, 1, 1)), shard(out, "segmentation", (0, 0, 2)))
    change_record(out, "relabel")
    before = state(out)
    report = verify(load_config(config))
    assert [(f.task, f.block, f.kind) for f in report.damage] == [
        ("predict", (0, 0, 0), "undecodable"),
        ("predict", ONE, "checksum"),
        ("fragments", (0, 0, 0), "undecodable"),
        ("fragments", (0, 0, 1), "undecodable"),
        ("fragments", ONE, "missing"),
        ("relabel", (0, 0, 0), "undecodable"),
        ("relabel", (0, 0, 1), "checksum"),
        ("relabel", ONE, "unrecorded"),
    ]
    files = [f.files for f in report.damage]
    assert files[0] == (str(shard(out, "affinities", (0, 0, 0))),) and files[3] == (
        str(shard(out, "fragments", (0, 0, 2))),
    )
    assert len(files[1]) == len(files[4]) == len(files[7]) == 8
    assert not report.strays and state(out) == before
    verify(load_config(config), repair=True)
    assert_untouched(before, out, report)
    assert_mended(unsharded, config, out)


def test_lost_metadata_are_restored(unsharded: Path, copied: tuple[Path, Path]) -> None:
    config, out = copied
    truncate(out / "fragments" / "zarr.json")
    assert [f.kind for f in verify(load_config(config), repair=True).damage] == ["metadata"]
    assert files_of(out, "fragments") == files_of(unsharded / "out.zarr", "fragments")
    assert verify(load_config(config)).ok


def test_a_run_replaces_what_a_killed_writer_left(unsharded: Path, copied: tuple[Path, Path]) -> None:
    """Its record is missing and a chunk is torn. The files of another block are lost."""
    config, out = copied
    change_record(out, "predict")
    shard(out, "affinities", INNER).write_bytes(b"torn")
    shard(out, "affinities", (0, 2, 2)).unlink()
    remove_block(out)
    run(load_config(config))
    assert [tuple(r["block"]) for r in records(out, "fragments")].count(ONE) == 2
    assert_mended(unsharded, config, out)


def test_an_array_with_one_chunk_per_shard_keeps_its_form(copied_run: tuple[Path, Path], finished_run: Path) -> None:
    """Earlier versions wrote shards even if the shapes were equal."""
    _, out = copied_run
    config = unsharded_config(out.parent, finished_run / "raw.zarr", shape=24)
    before = files_of(out, "fragments")
    assert "sharding_indexed" in str(before["zarr.json"])
    shard(out, "fragments").unlink()
    assert verify(load_config(config)).requeued == {"fragments": [ONE]}
    (out / "fragments" / "zarr.json").unlink()
    verify(load_config(config), repair=True)
    run(load_config(config))
    assert files_of(out, "fragments") == before
    assert verify(load_config(config)).ok


def test_only_chunks_that_divide_the_block_are_taken(unsharded: Path, tmp_path: Path, refused: Refused) -> None:
    new = tmp_path / "new.zarr"
    options = ("--set", "output.shard_shape=[16,16,16]", "--set", f"output.path={new}")
    text = refused("run", unsharded / "config.toml", *options)
    assert "output.shard_shape" in text and "divisor of the" in text and not new.exists()
