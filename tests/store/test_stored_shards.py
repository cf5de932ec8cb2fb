"""Shards of exports are read and written by TensorStore: Zarr reads the same voxels, and damage is no voxel."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import zarr

from fgnet_pipeline.core.geometry import Box, Grid, Vector
from fgnet_pipeline.store.arrays import OutputArray, create_array
from fgnet_pipeline.store.stored_shards import StoredShards

SHAPE, CHUNK = (70, 50, 45), (16, 16, 16)
DTYPES = [("uint64", ()), ("uint32", ()), ("uint8", (3,)), ("int16", ()), ("float32", ()), ("bool", ())]
BOXES = [
    Box((0, 0, 0), SHAPE),
    Box((0, 0, 0), (32, 32, 32)),
    Box((31, 15, 1), (70, 50, 44)),
    Box((40, 3, 3), (41, 4, 4)),
]


def make(
    folder: Path, name: str, dtype: str, channels: tuple[int, ...] = (), shard: Vector = (32, 32, 32)
) -> OutputArray:
    group = zarr.open_group(folder / "pair.zarr", mode="a")
    shape = (*channels, *SHAPE)
    return create_array(group, name, shape=shape, dtype=dtype, shard_shape=shard, chunk_shape=CHUNK, attributes={})


def voxels(dtype: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """Values with whole chunks and whole shards of zeros."""
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    values[..., :33, :, :] = 0
    return values


def files_of(array: OutputArray) -> dict[str, bytes]:
    found = (path for path in (array.folder / "c").rglob("*") if path.is_file())
    return {str(path.relative_to(array.folder)): path.read_bytes() for path in found}


def fill(array: OutputArray, values: npt.NDArray[np.generic], block: Vector) -> set[Path]:
    """Write all blocks by TensorStore; of the first one only a part, as at the border of a region of interest."""
    grid, shards, files = Grid(block), StoredShards(array), set[Path]()
    for index in itertools.product(*(range(-(-n // size)) for n, size in zip(SHAPE, block, strict=True))):
        box = grid.box(index)
        written = box.intersect(array.bounds)
        if index == (0, 0, 0):
            written = Box((3, 0, 0), (40, 32, 32)).intersect(written)
        files.update(shards.write_block(box, written, values[(..., *written.slices())]))
    return files


@pytest.mark.parametrize("dtype, channels", DTYPES)
@pytest.mark.parametrize("shard", [(32, 32, 32), (48, 32, 16), CHUNK], ids=str)
def test_zarr_reads_what_is_written_and_every_box_is_read_back(
    tmp_path: Path, dtype: str, channels: tuple[int, ...], shard: Vector
) -> None:
    array, values = make(tmp_path, "array", dtype, channels, shard), voxels(dtype, (*channels, *SHAPE))
    block = (2 * shard[0], 2 * shard[1], 2 * shard[2])
    files = fill(array, values, block)
    wanted = values.copy()
    corner = np.ones(SHAPE, bool)
    corner[tuple(slice(0, n) for n in block)] = False
    corner[Box((3, 0, 0), (40, 32, 32)).intersect(Box((0, 0, 0), block)).slices()] = True
    wanted[..., ~corner] = 0
    assert (np.asarray(array.array[...]) == wanted).all()
    first = files_of(array)
    assert {str(path.relative_to(array.folder)) for path in files if path.exists()} == set(first) != {}
    assert len(files) > len(first)  # shards of zeros have no file
    for box in BOXES:
        found = StoredShards(array).read(box)
        assert found.dtype == values.dtype
        assert (found == wanted[(..., *box.slices())]).all()
    fill(array, values, block)
    assert files_of(array) == first  # equal voxels get equal bytes
    fill(array, np.zeros_like(values), block)
    assert files_of(array) == {}


def test_shards_that_zarr_wrote_are_read_and_copied(tmp_path: Path) -> None:
    source, target = make(tmp_path, "source", "uint64"), make(tmp_path, "target", "uint64")
    values = voxels("uint64", SHAPE)
    source.array[...] = values
    box = Box((0, 0, 0), (64, 64, 64))
    inside, copy = box.intersect(source.bounds), StoredShards(target)
    copy.write_block(box, inside, np.ones(inside.shape, np.uint64))  # what is there is replaced, by zeros too
    found, contents = StoredShards(source).read_with_contents(inside)
    assert (found == values[inside.slices()]).all()
    copy.replace(box, contents)
    assert copy.is_like(StoredShards(source))
    assert (target.read(inside) == found).all()
    assert set(files_of(target)) <= set(files_of(source))
    assert all(files_of(source)[name] == content for name, content in files_of(target).items())


@pytest.mark.parametrize("kind", ["bit", "zeros", "torn"])
def test_no_damage_is_read_as_voxels(tmp_path: Path, kind: str) -> None:
    """Places all over the file, and every byte of the index."""
    array, box = make(tmp_path, "array", "uint64"), Box((0, 0, 0), (32, 32, 32))
    rng = np.random.default_rng(1)
    values = rng.integers(1, 2**62, box.shape).astype(np.uint64)
    shards = StoredShards(array)
    (path,) = shards.write_block(box, box, values)
    whole = path.read_bytes()
    places = [*rng.integers(0, len(whole), 60).tolist(), *range(len(whole) - 8 * 16 - 4, len(whole))]
    for at in places:
        content = bytearray(whole)
        if kind == "bit":
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == "zeros":
            content[at : at + 50] = bytes(len(content[at : at + 50]))
        else:
            del content[at:]
        if content == whole:
            continue  # zeros in place of zeros
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged"):
            shards.read(box)
    path.write_bytes(whole)
    assert (shards.read(box) == values).all()


def test_only_arrays_that_are_stored_alike_are_alike(tmp_path: Path) -> None:
    plain = StoredShards(make(tmp_path, "plain", "uint64"))
    group = zarr.open_group(tmp_path / "pair.zarr", mode="a")
    ours = {"dtype": "uint64", "shards": (32, 32, 32), "chunks": CHUNK, "fill_value": 0}
    zstd = [zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()]
    others = {
        "dtype": {"dtype": "uint32"}, "shards": {"shards": (64, 64, 64)}, "unsharded": {"shards": None},
        "chunks": {"chunks": (8, 8, 8)}, "fill": {"fill_value": 7}, "codecs": {"compressors": zstd[:1]},
        "shape": {"shape": (70, 50, 46)},
    }  # fmt: skip
    for name, how in others.items():
        array = group.create_array(name, **({"shape": SHAPE, "compressors": zstd} | ours | how))
        assert not plain.is_like(StoredShards(OutputArray(array))), name
    same = group.create_array("same", **({"shape": SHAPE, "compressors": zstd} | ours))
    assert plain.is_like(StoredShards(OutputArray(same)))
