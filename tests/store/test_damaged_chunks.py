"""A changed byte in an array of ours is never read as a value, whichever part of its chunk is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.store.arrays import READ_ERRORS, OutputArray, use_threads
from fgnet_pipeline.store.output import Output

SHAPE, SHARD, CHUNK = (40, 40, 40), (32, 32, 32), (16, 16, 16)
#: A whole chunk, a part of it, parts of two chunks, a whole shard, and the end of the array.
BOXES = [
    Box((0, 0, 0), (16, 16, 16)),
    Box((1, 2, 3), (5, 6, 7)),
    Box((8, 0, 0), (24, 16, 16)),
    Box((0, 0, 0), (32, 32, 32)),
    Box((32, 32, 32), (40, 40, 40)),
]


@pytest.fixture
def written(tmp_path: Path) -> tuple[OutputArray, np.ndarray]:
    use_threads(1)
    output = Output(str(tmp_path / "out.zarr"))
    output.create()
    output.create_array("fragments", shape=SHAPE, dtype="uint64", shard=SHARD, chunk=CHUNK, attributes={})
    array = output.array("fragments")
    # Bytes that compress badly: a changed one is a changed value, and no error of the compression.
    data = np.random.default_rng(0).integers(0, 2**63, SHAPE).astype(np.uint64)
    array.array[:] = data
    return array, data


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_every_read_of_a_damaged_chunk_fails_and_no_other(written: tuple[OutputArray, np.ndarray], box: Box) -> None:
    array, data = written
    assert (array.read(box) == data[box.slices()]).all()
    shard = array.folder / "c" / "/".join(str(b // s) for b, s in zip(box.begin, SHARD, strict=True))
    content = bytearray(shard.read_bytes())
    for at in range(500, len(content) // 16, 997):  # in the first chunk of the shard
        content[at] ^= 0x10
        shard.write_bytes(content)
        with pytest.raises(READ_ERRORS):
            array.read(box)
        content[at] ^= 0x10
    shard.write_bytes(content)
    assert (array.read(box) == data[box.slices()]).all()


def test_chunks_beside_a_damaged_one_stay_readable(written: tuple[OutputArray, np.ndarray]) -> None:
    array, data = written
    shard = array.folder / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 0x10
    shard.write_bytes(content)
    whole = Box((16, 16, 16), (32, 32, 32))
    assert (array.read(whole) == data[whole.slices()]).all()
    with pytest.raises(READ_ERRORS):
        array.read(Box((0, 0, 0), (1, 1, 1)))
