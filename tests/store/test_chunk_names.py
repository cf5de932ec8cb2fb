"""Chunks that lie under other names than the metadata state, or nowhere: read rightly or refused, never black."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr_tools import DATA, write_array

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.arrays import open_array
from fgnet_pipeline.store.chunk_names import require_stored
from fgnet_pipeline.store.stored_share import positions, stored_share
from fgnet_pipeline.store.volume import open_volume

#: The four ways to name chunks, as Zarr v3 states them.
ENCODINGS = [{"name": name, "separator": separator} for name in ("default", "v2") for separator in "/."]


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """Change the metadata of an array, but not its chunks; gives its path."""
    file = next(folder / name for name in (".zarray", "zarr.json") if (folder / name).exists())
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))
    return str(folder)


def read_all(path: str) -> Any:
    volume = open_volume(path)
    return volume.read(volume.bounds)


@pytest.mark.parametrize("stored", "/.")
def test_zarr_v2_is_read_whatever_separator_its_metadata_state(stored: str, tmp_path: Path) -> None:
    """Old writers wrote nested chunks without a word about it."""
    encoding = {"name": "v2", "separator": stored}
    write_array(tmp_path / "a", zarr_format=2, chunk_key_encoding=encoding)
    path = edited(tmp_path / "a", lambda m: m.pop("dimension_separator", None))
    assert np.array_equal(read_all(path), DATA)
    edited(tmp_path / "a", lambda m: m.update(dimension_separator="/" if stored == "." else "."))
    assert np.array_equal(read_all(path), DATA)
    assert stored_share(open_array(path, "f")).share == 1


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("stated", range(4))
@pytest.mark.parametrize("stored", range(4))
def test_zarr_v3_is_read_under_all_names(stored: int, stated: int, sharded: bool, tmp_path: Path) -> None:
    options = {"chunks": (1, 1, 3), "shards": (2, 3, 3)} if sharded else {}
    write_array(tmp_path / "a", chunk_key_encoding=ENCODINGS[stored], **options)
    wanted = {"name": ENCODINGS[stated]["name"], "configuration": {"separator": ENCODINGS[stated]["separator"]}}
    path = edited(tmp_path / "a", lambda m: m.update(chunk_key_encoding=wanted))
    assert np.array_equal(read_all(path), DATA)


def rename_all(folder: Path, new: Callable[[str], str]) -> None:
    for file in [f for f in folder.rglob("*") if f.is_file() and not f.name.startswith((".z", "zarr"))]:
        target = folder / new(str(file.relative_to(folder)))
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)


#: What may have happened to the chunks of a Zarr v2 array -> a word of the sentence.
LOST: dict[str, tuple[Callable[[Path], Any], str]] = {
    "all gone": (lambda a: [f.unlink() for f in a.iterdir() if not f.name.startswith(".z")], "no chunk is stored"),
    "compressed once more": (lambda a: rename_all(a, lambda n: f"{n}.gz"), ".gz"),
    "renamed": (lambda a: rename_all(a, lambda n: f"chunk_{n}"), "chunk_"),
    "names of zarr v3": (lambda a: rename_all(a, lambda n: "c/" + n.replace(".", "/")), "c/0/0/0"),
    "in a folder of their own": (lambda a: rename_all(a, lambda n: f"data/{n}"), "data"),
    "two kinds": (lambda a: (shutil.copy(a / "0.0.0", a / "x"), (a / "0" / "0").mkdir(parents=True),
                             (a / "x").rename(a / "0" / "0" / "0")), "one kind"),
    "a grid in another order": (lambda a: rename_all(a, lambda n: "/".join(n.split("."))[::-1] + "9"), "0/0/0"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOST)
def test_chunks_that_zarr_cannot_find_are_refused(case: str, tmp_path: Path) -> None:
    damage, word = LOST[case]
    path = write_array(tmp_path / "a", zarr_format=2)
    damage(tmp_path / "a")
    with pytest.raises(InputError) as caught:
        require_stored(open_array(path, "fragments.path"), path, "fragments.path")
    assert caught.value.field == "fragments.path" and word in str(caught.value)


def test_an_array_of_which_nothing_was_written_is_refused(tmp_path: Path) -> None:
    for version in (2, 3):
        path = write_array(tmp_path / str(version), np.zeros((4, 4, 4), np.uint8), zarr_format=version)
        with pytest.raises(InputError, match=r"no chunk is stored"):
            require_stored(open_array(path, "volume.path"), path, "volume.path")
        assert stored_share(open_array(path, "volume.path")).found == 0


def test_one_stored_chunk_is_enough(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "a"), shape=(4000,) * 3, dtype="uint8", chunks=(4, 4, 4))
    array[17, 2000, 3999] = 1
    found = open_array(str(tmp_path / "a"), "volume.path")
    require_stored(found, "a", "volume.path")
    assert found[17, 2000, 3999] == 1


def test_the_share_is_exact_for_few_chunks_and_close_for_many(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "few"), shape=(8, 8, 8), dtype="uint8", chunks=(4, 4, 4))
    array[:4] = 1
    few = stored_share(array)
    assert (few.found, few.looked_at, few.total, few.kind) == (4, 8, 8, "chunks") and "4 of 8 chunks" in str(few)
    many = zarr.create_array(str(tmp_path / "many"), shape=(16000, 16, 16), dtype="uint8", chunks=(1, 16, 16))
    folder = tmp_path / "many" / "c"
    for z in range(0, 16000, 4):  # a pattern that an even distance of positions would meet always or never
        (folder / str(z) / "0").mkdir(parents=True)
        (folder / str(z) / "0" / "0").touch()
    found = stored_share(many)
    assert found.total == 16000 and found.looked_at == 1000 and 0.2 < found.share < 0.3 and "about" in str(found)


def test_positions_are_fixed_spread_and_fast_for_many_chunks() -> None:
    chosen = positions((10**5, 10**4, 10**3), 1000)
    assert chosen == positions((10**5, 10**4, 10**3), 1000) and len(set(chosen)) == 1000
    z = np.array(chosen)[:, 0]
    assert np.histogram(z, 10, (0, 10**5))[0].tolist() == [100] * 10
    assert positions((2, 3, 1), 6) == [(z, y, 0) for z in range(2) for y in range(3)]
    assert all((np.array(positions((7, 11, 13))) < (7, 11, 13)).all(axis=1))


@pytest.mark.parametrize("dtype", [">u2", ">u4", ">u8", ">i4", "<u2", "u1", ">f4"])
@pytest.mark.parametrize("order", "CF")
def test_zarr_v2_is_read_in_any_byte_order_and_memory_order(dtype: str, order: str, tmp_path: Path) -> None:
    """As the pipeline reads it, with the codecs of zarrs."""
    from fgnet_pipeline.store.arrays import use_threads

    use_threads(1)
    data = (DATA.astype(np.int64) * 257 % (255 if dtype == "u1" else 60000)).astype(dtype)
    path = write_array(tmp_path / "a", data, {"axis_names": ["x", "y", "z"]}, zarr_format=2, order=order)
    volume = open_volume(path)
    found = volume.read(volume.bounds)
    assert np.array_equal(found, data.T) and found.dtype.isnative and found.dtype == volume.dtype
    part = volume.read(type(volume.bounds)((1, 1, 1), (5, 4, 3)))
    assert np.array_equal(part, data.T[1:5, 1:4, 1:3])


def test_zarr_v3_is_read_in_any_byte_order_and_memory_order(tmp_path: Path) -> None:
    from zarr.codecs import BytesCodec, TransposeCodec

    from fgnet_pipeline.store.arrays import use_threads

    use_threads(1)
    data = DATA.astype(np.uint16) * 257
    path = write_array(
        tmp_path / "a", data, filters=[TransposeCodec(order=(2, 1, 0))], serializer=BytesCodec(endian="big")
    )
    assert np.array_equal(read_all(path), data)
