"""Blocks computed on a device hold the bytes of the host's arithmetic, on a processor and on a GPU if there is one."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import pytest
import torch
from fgnet.predictor import NetworkPredictor
from numpy.typing import NDArray
from pipeline_tools import read, write_volume
from tiny_network import DEVICES, GEOMETRY, write_checkpoint

from fgnet_pipeline.core.geometry import Box, Grid, indices, vector, whole
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.kernels.grey import to_grey
from fgnet_pipeline.kernels.tiling import reflect, to_uint8
from fgnet_pipeline.stages import predict
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.predict import tiling_of
from fgnet_pipeline.stages.tile_network import IMPLEMENTATION, HostBlocks, TileNetwork, computes_on_device, padding_runs
from fgnet_pipeline.stages.with_torch.device_blocks import DeviceBlocks, _to_uint8

SHAPE = (24, 40, 48)
OVERLAPPING = dataclasses.replace(GEOMETRY, stride=(8, 24, 24))
Blocks = HostBlocks | DeviceBlocks


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained network whose tiles overlap."""
    return write_checkpoint(tmp_path_factory.mktemp("weights"), OVERLAPPING)


def both(
    checkpoint: Path, device: str, volume: Box, limits: tuple[float, float] | None = None, mode: str = "exact"
) -> tuple[HostBlocks, DeviceBlocks]:
    """The host's arithmetic and the device's, with one network on the device."""
    predictor = fgnet.load_predictor(str(checkpoint), mode, device)
    assert isinstance(predictor, NetworkPredictor)
    geometry = predictor.geometry
    network = TileNetwork(
        predictor,
        lambda raw: fgnet.normalise.apply(to_grey(raw, limits), 120.0, 40.0),
        geometry.margin,
        3,
        padding_runs(IMPLEMENTATION, geometry.margin),
    )
    tiling = tiling_of(geometry)
    return HostBlocks(tiling, network, volume, 1), DeviceBlocks(tiling, predictor, network, volume)


def predicted(blocks: Blocks, raw: NDArray[Any], box: Box) -> NDArray[np.uint8]:
    """One block through all steps, from the voxels that a worker reads."""
    reads = blocks.tiling.reads(box, blocks.volume)
    loaded: Any = blocks.load(raw[reads.slices()], reads.begin, box)
    return blocks.finished(blocks.compute(loaded, box))  # type: ignore[arg-type]


def tissue(dtype: str, seed: int = 0) -> NDArray[Any]:
    """Noise over the whole range of a type of at most 16 bits, over 0 to 255 for the others."""
    kind = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    if kind.kind == "f" or kind.itemsize > 2:
        return rng.uniform(0, 255, SHAPE).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, SHAPE, endpoint=True).astype(kind)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["exact", "fast", "reference"])
def test_every_block_holds_the_bytes_of_the_host(checkpoint: Path, device: str, mode: str) -> None:
    raw, volume = tissue("u1"), whole(vector(SHAPE))
    host, there = both(checkpoint, device, volume, mode=mode)
    expected = predicted(host, raw, volume)
    found = np.zeros_like(expected)
    grid = Grid((16, 32, 24))
    for index in reversed(list(indices(grid.covering(volume)))):
        box = grid.box(index).intersect(volume)
        found[(slice(None), *box.slices())] = predicted(there, raw, box)
    if device == "cpu":
        assert np.array_equal(found, expected)
    else:  # a GPU fuses other operations than a processor
        assert np.abs(found.astype(int) - expected).max() <= 1
        assert np.array_equal(found, predicted(there, raw, volume))


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "<i2", "u4", ">i4", "u8", "f2", "f4", ">f8"])
def test_values_of_every_type_are_those_of_the_host(checkpoint: Path, dtype: str) -> None:
    raw, box = tissue(dtype), Box((8, 16, 16), (20, 32, 40))
    host, there = both(checkpoint, "cpu", whole(vector(SHAPE)), (-300.0, 40000.0) if dtype[-1] == "2" else None)
    assert np.array_equal(predicted(there, raw, box), predicted(host, raw, box))


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4"])
@pytest.mark.parametrize("value", [0, 255])
def test_padding_is_replaced_as_on_the_host(checkpoint: Path, dtype: str, value: int) -> None:
    raw = np.clip(tissue(dtype), 1, 254).astype(dtype)
    raw[:, 20:] = value
    raw[7] = value
    raw[:, :, 44:] = value
    volume = whole(vector(SHAPE))
    host, there = both(checkpoint, "cpu", volume)
    expected = predicted(host, raw, volume)
    assert np.array_equal(predicted(there, raw, volume), expected)
    assert not expected[:, :, 28:].any() and expected[:, :, :20].any()


def test_padding_is_seen_wherever_a_run_begins(checkpoint: Path) -> None:
    """Flags of tiles: none in tissue, and one for every tile with a run, also where the volume is mirrored."""
    volume = whole(vector(SHAPE))
    host, there = both(checkpoint, "cpu", volume)
    assert not any(there.load(tissue("u1"), (0, 0, 0), volume).may_be_padded)
    assert host.network.runs is not None
    length = host.network.runs[0]
    rng = np.random.default_rng(1)
    for axis in (1, 2):
        for _ in range(20):
            raw, place = tissue("u1"), [int(rng.integers(0, n)) for n in SHAPE]
            place[axis] = min(place[axis], SHAPE[axis] - length)
            run: list[Any] = list(place)
            run[axis] = slice(place[axis], place[axis] + length)
            raw[tuple(run)] = 3
            loaded = there.load(raw, (0, 0, 0), volume)
            for tile, flag in zip(loaded.tiles, loaded.may_be_padded, strict=True):
                seen = raw[there.tiling.sources(tile, (0, 0, 0), volume)]
                assert flag or host.network.runs is None or not _has_run(seen, length, axis)
            assert any(loaded.may_be_padded)


def _has_run(values: NDArray[Any], length: int, axis: int) -> bool:
    """Brute force: whether `length` equal values follow one another along an axis."""
    windows = np.lib.stride_tricks.sliding_window_view(values, length, axis)
    return bool((windows == windows[..., :1]).all(-1).any())


def test_every_section_is_encoded_once_by_its_place(checkpoint: Path) -> None:
    """Also mirrored sections at the faces of the volume; and equal sections at other places are encoded again."""
    raw, volume = np.repeat(tissue("u1")[:1], SHAPE[0], 0), whole(vector(SHAPE))
    _, there = both(checkpoint, "cpu", volume)
    sections: list[int] = []
    there.predictor.network.encoder.register_forward_pre_hook(lambda _, inputs: sections.append(len(inputs[0])))
    loaded = there.load(raw, (0, 0, 0), volume)
    there.compute(loaded, volume)
    batch, seen, calls = there.predictor.cache.batch, set(), 0
    for tile in loaded.tiles:
        first = tile.begin[0] - OVERLAPPING.margin[0]
        places = {(tile.begin[1:], int(z)) for z in reflect(np.arange(first, first + OVERLAPPING.tile[0]), SHAPE[0])}
        calls += -(-len(places - seen) // batch)
        seen |= places
    assert sections == [batch] * calls and len(seen) == SHAPE[0] * len({tile.begin[1:] for tile in loaded.tiles})


@pytest.mark.parametrize("device", DEVICES)
def test_lanes_that_work_at_once_do_not_meet(checkpoint: Path, device: str) -> None:
    """Four threads load, fetch and keep blocks while one of them computes, as the lanes of a worker do."""
    raw, volume = tissue("u1"), whole(vector(SHAPE))
    _, there = both(checkpoint, device, volume)
    expected = predicted(there, raw, volume)
    computing, found = threading.Lock(), np.zeros_like(expected)

    def one(box: Box) -> None:
        loaded = there.load(raw, (0, 0, 0), box)
        with computing:
            computed = there.compute(loaded, box)
        found[(slice(None), *box.slices())] = there.finished(computed)

    grid = Grid((16, 16, 24))
    with ThreadPoolExecutor(4) as lanes:
        list(lanes.map(one, [grid.box(i).intersect(volume) for i in indices(grid.covering(volume))]))
    assert np.array_equal(found, expected)


def test_stage_predict_writes_what_the_device_computes(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole stage, with a processor in the place of a GPU."""
    write_volume(tmp_path / "raw.zarr", tissue("u1"))
    tables = {
        "volume": {"path": str(tmp_path / "raw.zarr")},
        "model": {"checkpoint": str(checkpoint), "device": "cpu"},
        "schedule": {"workers": 0, "block_shape": [16, 16, 32]},
    }
    for name in ("host", "device"):
        used: list[DeviceBlocks] = []
        monkeypatch.setattr(DeviceBlocks, "__init__", _noting(used))
        monkeypatch.setattr(predict, "computes_on_device", lambda *_, name=name: name == "device")
        run(load_config({**tables, "output": {"path": str(tmp_path / name)}}), ("predict",))
        assert len(used) == (name == "device")
    affinities = read(tmp_path / "device", "affinities")
    assert affinities.any() and np.array_equal(affinities, read(tmp_path / "host", "affinities"))


def _noting(used: list[DeviceBlocks], begin: Any = DeviceBlocks.__init__) -> Any:
    def noted(self: DeviceBlocks, *arguments: Any) -> None:
        used.append(self)
        begin(self, *arguments)

    return noted


def test_only_new_outputs_on_a_gpu_are_computed_so() -> None:
    assert computes_on_device(IMPLEMENTATION, "cuda:1")
    assert not computes_on_device(IMPLEMENTATION, "cpu") and not computes_on_device(4, "cuda:0")


def test_affinities_that_are_no_numbers_are_boundaries() -> None:
    values = np.array([np.nan, np.inf, -np.inf, -1, 2, 0.5 / 255, 1.5 / 255, 2.5 / 255, 0.1], np.float32)
    assert np.array_equal(_to_uint8(torch.from_numpy(values.copy())).numpy(), to_uint8(values))
