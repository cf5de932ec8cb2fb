"""Values that are lost: chunks, source files and linked files that a library would read as 0."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pytest
from numpy.typing import NDArray
from pipeline_tools import Command
from source_files import RAW, SHAPE, ts, write_n5, write_precomputed
from web_server import web_server

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, whole
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request, Source
from fgnet_pipeline.datasets.stored_chunks import precomputed_grid, probe_census, sharded_grid


def opened(path: Path | str, dataset: str | None = None) -> Source:
    return open_source(Request(str(path), "--raw", dataset))


def voxels(source: Source) -> NDArray[Any]:
    return source.read(whole(source.shape))


def renamed(folder: Path, change: Callable[[Path], None]) -> None:
    for file in [f for f in sorted(folder.rglob("*")) if f.is_file() and f.suffix != ".json"]:
        change(file)


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".br": lambda data: pyarrow.compress(data, codec="brotli", asbytes=True),
    ".zstd": lambda data: pyarrow.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_chunk_files_that_cloudvolume_compressed_are_read(tmp_path: Path, suffix: str) -> None:
    write_precomputed(tmp_path / "v", RAW, (100, 200, 10))

    def pack(file: Path) -> None:
        file.with_name(file.name + suffix).write_bytes(COMPRESSED[suffix](file.read_bytes()))
        file.unlink()

    renamed(tmp_path / "v" / "4_4_40", pack)
    source = opened(tmp_path / "v")
    assert np.array_equal(voxels(source), RAW) and source.stored == 1
    assert source.voxel_size == (40, 4, 4) and source.offset == (400, 800, 400)
    assert np.array_equal(source.read(Box((3, 5, 30), (18, 29, 40))), RAW[3:18, 5:29, 30:40])


def test_a_damaged_compressed_chunk_is_one_sentence(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", RAW, (0, 0, 0))
    renamed(tmp_path / "v" / "4_4_40", lambda f: f.rename(f.with_name(f.name + ".gz")))
    with pytest.raises(InputError, match=r"chunks that can be decoded.*\.gz"):
        voxels(opened(tmp_path / "v"))


@pytest.mark.parametrize("name", ["{}.bak", "{}.zst", "chunk-{}"])
def test_a_precomputed_volume_whose_chunks_lie_under_other_names_is_refused(tmp_path: Path, name: str) -> None:
    write_precomputed(tmp_path / "v", RAW, (0, 0, 0))
    renamed(tmp_path / "v" / "4_4_40", lambda f: f.rename(f.with_name(name.format(f.name))))
    with pytest.raises(InputError, match="under the names that the format gives them"):
        opened(tmp_path / "v")


def test_a_precomputed_volume_with_an_offset_that_moves_all_names_is_refused(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", RAW, (0, 0, 0))
    info = json.loads((tmp_path / "v" / "info").read_text())
    info["scales"][0]["voxel_offset"] = [1, 0, 0]
    (tmp_path / "v" / "info").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"0 of \d+ chunks"):
        opened(tmp_path / "v")


def sharded(folder: Path, part: Box | None = None) -> Path:
    """RAW, or a part of it, as a sharded precomputed volume of 2 x 1 x 2 chunks."""
    rules = {"@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 1, "hash": "identity", "minishard_bits": 1,
             "shard_bits": 1, "data_encoding": "gzip", "minishard_index_encoding": "gzip"}  # fmt: skip
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": folder.as_uri() + "/",
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": {"key": "k", "size": RAW.T.shape, "resolution": [4.5, 4.5, 40], "chunk_size": [22, 30, 10],
                           "encoding": "raw", "sharding": rules},
    }  # fmt: skip
    box = part or whole(SHAPE)
    z, y, x = box.slices()
    ts.open(spec, create=True).result()[x, y, z, 0] = RAW[box.slices()].T
    return folder


def test_sharded_volumes_are_counted_by_their_index(tmp_path: Path) -> None:
    assert opened(sharded(tmp_path / "whole")).stored == 1
    part = opened(sharded(tmp_path / "part", Box((0, 0, 0), (10, 30, 44))))
    assert part.stored == 0.5 and part.voxel_size == (40, 4.5, 4.5)
    assert np.array_equal(voxels(part)[:10], RAW[:10])
    for shard in (tmp_path / "whole" / "k").iterdir():
        shard.rename(shard.with_suffix(".shard.gz"))
    with pytest.raises(InputError, match=r"0 of 4 chunks.*shard\.gz"):
        opened(tmp_path / "whole")


def test_keys_in_shards_are_those_that_tensorstore_uses(tmp_path: Path) -> None:
    scale = json.loads((sharded(tmp_path / "v", Box((0, 0, 0), (10, 30, 44))) / "info").read_text())["scales"][0]
    spec = {"driver": "neuroglancer_uint64_sharded", "base": (tmp_path / "v" / "k").as_uri() + "/",
            "metadata": scale["sharding"]}  # fmt: skip
    shards, grid = ts.KvStore.open(spec).result(), sharded_grid(precomputed_grid(scale))
    written = {grid.key(index) for index in np.ndindex(*grid.counts) if index[2] == 0}
    assert set(shards.list().result()) == written and len(written) == 2
    assert probe_census(shards.read, grid).share("--raw", "v") == 0.5


@pytest.mark.parametrize("change", ["none", "flat", "gz"])
def test_an_n5_dataset_whose_blocks_lie_under_other_names_is_refused(tmp_path: Path, change: str) -> None:
    folder = write_n5(tmp_path / "c.n5" / "raw", RAW)
    assert opened(folder).stored == 1
    blocks = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != "attributes.json"]
    for file in blocks:
        name = {"none": None, "flat": ".".join(file.relative_to(folder).parts), "gz": f"{file.name}.gz"}[change]
        if name is None:
            file.unlink()
        else:
            file.rename((folder if change == "flat" else file.parent) / name)
    with pytest.raises(InputError, match="under the names"):
        opened(folder)


def test_the_share_of_stored_chunks_is_printed(tmp_path: Path, command: Command) -> None:
    folder = write_n5(tmp_path / "c.n5" / "raw", RAW)
    (folder / "0" / "1" / "1").unlink()  # one of 3 x 2 x 2 blocks
    code, out, _ = command("import", tmp_path / "o.zarr", "--raw", folder, "--json", "--dry-run")
    found = json.loads(out)["understood"]["raw"]
    assert code == 0 and found["stored_share"] == pytest.approx(11 / 12)
    assert found["axes"] == ["x", "y", "z"] and found["shape"] == list(SHAPE) and found["dtype"] == "uint8"
    assert found["values"][1] == 255
    text = command("import", tmp_path / "o.zarr", "--raw", folder, "--dry-run")[2]
    assert "0.9167 of its chunks are stored" in text and "axes x, y, z" in text


def virtual(folder: Path) -> Path:
    """RAW in two halves in files of their own, joined by a virtual dataset in a third file."""
    folder.mkdir()
    layout = h5py.VirtualLayout(SHAPE, "u1")
    for name, part in (("low.h5", slice(0, 10)), ("high.h5", slice(10, 20))):
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("d", data=RAW[part], chunks=(5, 30, 44), compression="gzip")
        layout[part] = h5py.VirtualSource(name, "d", (10, *SHAPE[1:]))
    with h5py.File(folder / "all.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    return folder / "all.h5"


def test_virtual_datasets_find_their_sources_beside_their_file(tmp_path: Path, monkeypatch: Any) -> None:
    virtual(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    source = opened(tmp_path / "b" / "all.h5")
    assert np.array_equal(voxels(source), RAW) and source.stored == 1
    assert np.array_equal(voxels(opened(os.path.relpath(tmp_path / "b" / "all.h5"))), RAW)


def lost_source(path: Path) -> None:
    (path.parent / "high.h5").unlink()


def lost_dataset(path: Path) -> None:
    with h5py.File(path.parent / "high.h5", "a") as file:
        del file["d"]


def unwritten_source(path: Path) -> None:
    with h5py.File(path.parent / "high.h5", "w") as file:
        file.create_dataset("d", (10, *SHAPE[1:]), "u1", chunks=(5, 30, 44))


def damaged_source(path: Path) -> None:
    (path.parent / "high.h5").write_bytes(b"no HDF5")


@pytest.mark.parametrize("harm", [lost_source, lost_dataset, unwritten_source, damaged_source])
def test_a_virtual_dataset_with_a_lost_source_is_refused(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    path = virtual(tmp_path / "v")
    harm(path)
    with pytest.raises(InputError, match=r"high\.h5"):
        opened(path)


def test_external_storage_and_links_are_read_beside_the_file_or_refused(tmp_path: Path, monkeypatch: Any) -> None:
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_dataset("raw", SHAPE, "u1", external=[("values.bin", 0, RAW.size)])
        file["linked"] = h5py.ExternalLink("other.h5", "/d")
        file["soft"] = h5py.SoftLink("/nowhere")
    RAW.tofile(tmp_path / "values.bin")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["d"] = RAW
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("raw", "linked"):
        assert np.array_equal(voxels(opened(tmp_path / "e.h5", name)), RAW)
    (tmp_path / "other.h5").unlink()
    with pytest.raises(InputError, match=r"linked leads to other\.h5:/d"):
        opened(tmp_path / "e.h5", "linked")
    with pytest.raises(InputError, match="soft leads to /nowhere"):
        opened(tmp_path / "e.h5", "soft")
    os.truncate(tmp_path / "values.bin", 100)
    with pytest.raises(InputError, match="it has 100 bytes"):
        opened(tmp_path / "e.h5", "raw")
    (tmp_path / "values.bin").unlink()
    with pytest.raises(InputError, match=r"the file values\.bin"):
        opened(tmp_path / "e.h5", "raw")


@pytest.mark.parametrize("layout", [{}, {"chunks": (4, 10, 11)}])
def test_an_hdf5_dataset_that_was_never_written_is_refused(tmp_path: Path, layout: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file.create_dataset("raw", SHAPE, "u1", **layout)
    with pytest.raises(InputError, match="was ever written"):
        opened(tmp_path / "n.h5")


def test_hdf5_filters_that_are_missing_and_damaged_chunks_are_one_sentence(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        made = file.create_dataset("raw", data=RAW, chunks=SHAPE, fletcher32=True)
        place = made.id.get_chunk_info(0).byte_offset
        access = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        access.set_chunk(SHAPE)
        access.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple(SHAPE)
        strange = h5py.Dataset(h5py.h5d.create(file.id, b"zstd", h5py.h5t.NATIVE_UINT8, space, access))
        strange.id.write_direct_chunk((0, 0, 0), RAW.tobytes())
    content = bytearray((tmp_path / "d.h5").read_bytes())
    content[place + 100] ^= 1
    (tmp_path / "d.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"d\.h5.*decoded"):
        voxels(opened(tmp_path / "d.h5", "raw"))
    if not h5py.h5z.filter_avail(32015):
        with pytest.raises(InputError, match=r"HDF5 filter 32015.*hdf5plugin"):
            opened(tmp_path / "d.h5", "zstd")


class Forbidding(http.server.SimpleHTTPRequestHandler):
    """A bucket without the right to list: it answers 403 for objects that do not exist."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        super().send_error(403 if code == 404 else code, message, explain)


def test_a_remote_volume_is_counted_by_some_of_its_chunks(tmp_path: Path) -> None:
    write_n5(tmp_path / "c.n5" / "volumes" / "raw", RAW)
    write_precomputed(tmp_path / "image", RAW, (0, 0, 0))
    shutil.copytree(tmp_path / "image", tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost" / "4_4_40")
    with web_server(tmp_path, Forbidding) as (url, _):
        for name, share in (("n5://{}/c.n5/volumes/raw", 1), ("precomputed://{}/image", 1)):
            source = opened(name.format(url))
            assert source.stored == share
            assert np.array_equal(source.read(Box((0, 0, 0), (10, 30, 44))), RAW[:10])
        with pytest.raises(InputError, match="under the names that the format gives them"):
            opened(f"precomputed://{url}/lost")
