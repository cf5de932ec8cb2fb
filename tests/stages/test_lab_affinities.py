"""Affinities of other programs: whatever their channels and axes, the values are those of our own convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from pipeline_tools import ATTRIBUTES, Command, read, write_config

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, whole
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.lab_affinities import LabAffinities

SHAPE = (9, 10, 11)
OURS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
FORWARD = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.fixture(scope="module")
def ours() -> npt.NDArray[np.uint8]:
    """Affinities (3, z, y, x) in our convention; 0 at the first voxel of each axis, which has no voxel before it."""
    values = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    values[0, 0] = values[1, :, 0] = values[2, :, :, 0] = 0
    return values


def stored(path: Path, values: npt.NDArray[Any], **attributes: Any) -> str:
    array = zarr.create_array(str(path), shape=values.shape, dtype=values.dtype, chunks=values.shape)
    array[:] = values
    array.attrs.update(attributes)
    return str(path)


def forward(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same affinities as other programs store them: at voxel v that of v and v + 1, and anything at the last."""
    result = np.full_like(values, 77)
    result[0, :-1], result[1, :, :-1], result[2, :, :, :-1] = values[0, 1:], values[1, :, 1:], values[2, :, :, 1:]
    return result


def assert_read(path: str, expected: npt.NDArray[np.uint8], channels: list[int] | None = None) -> LabAffinities:
    found = LabAffinities(path, channels)
    assert found.shape == SHAPE
    for box in (whole(SHAPE), Box((0, 3, 0), (4, 10, 5)), Box((2, 1, 10), (9, 2, 11)), Box((8, 9, 3), (9, 10, 4))):
        np.testing.assert_array_equal(found.read(box), expected[(slice(None), *box.slices())])
    return found


ORDERS = [(0, 1, 2), (2, 1, 0), (1, 2, 0)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["neighbourhood", "neighborhood", "offsets"])
def test_channels_in_any_order(tmp_path: Path, ours: npt.NDArray[np.uint8], order: tuple[int, ...], name: str) -> None:
    path = stored(tmp_path / "a", ours[list(order)], **{name: [OURS[c] for c in order]})
    assert_read(path, ours)


@pytest.mark.parametrize("order", ORDERS)
def test_the_affinity_to_the_next_voxel(tmp_path: Path, ours: npt.NDArray[np.uint8], order: tuple[int, ...]) -> None:
    values = forward(ours)[list(order)]
    assert_read(stored(tmp_path / "a", values, offsets=[FORWARD[c] for c in order]), ours)
    mixed = np.stack([ours[0], forward(ours)[1], ours[2]])
    assert_read(stored(tmp_path / "b", mixed, offsets=[OURS[0], FORWARD[1], OURS[2]]), ours)
    floats = (values / np.float32(255)).astype(np.float32)
    assert_read(stored(tmp_path / "c", floats, offsets=[FORWARD[c] for c in order]), ours)


@pytest.mark.parametrize("attributes", [{"axis_names": ["z", "y", "x", "c^"]}, {"axes": ["z", "y", "x", "channel"]}])
def test_channels_as_the_last_axis(
    tmp_path: Path, ours: npt.NDArray[np.uint8], attributes: dict[str, Any], command
) -> None:
    assert_read(stored(tmp_path / "a", np.moveaxis(ours, 0, -1), **attributes), ours)
    stated = {**attributes, "offsets": FORWARD, "voxel_size": [9, 5, 4], "offset": [90, 0, 40]}
    found = assert_read(stored(tmp_path / "b", np.moveaxis(forward(ours), 0, -1), **stated), ours)
    assert found.frame is not None and found.frame.voxel_size == (9, 5, 4)


def test_long_range_channels_follow_in_their_order(tmp_path: Path, ours: npt.NDArray[np.uint8]) -> None:
    far = np.random.default_rng(1).integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    values = np.stack([far[0], ours[2], ours[0], far[1], ours[1]])
    path = stored(tmp_path / "a", values, offsets=[[-4, 0, 0], OURS[2], OURS[0], [0, 9, 0], OURS[1]])
    found = assert_read(path, np.concatenate([ours, far]))
    assert found.neighbourhood == (*map(tuple, OURS), (-4, 0, 0), (0, 9, 0)) and found.channels == 5
    chosen = assert_read(path, np.concatenate([ours, far[1:]]), [3, 1, 2, 4])
    assert chosen.neighbourhood[3:] == ((0, 9, 0),)


def test_channels_may_be_chosen(tmp_path: Path, ours: npt.NDArray[np.uint8]) -> None:
    path = stored(tmp_path / "a", np.concatenate([255 - ours, ours]))
    assert_read(path, ours, [3, 4, 5])
    with pytest.raises(InputError, match=r"6 channels without offsets.*affinities\.channels"):
        LabAffinities(path)
    for wrong in ([0, 1, 6], [0, 0, 1], [0, 1, 2, 3]):
        with pytest.raises(InputError, match="indices from 0 to 5"):
            LabAffinities(path, wrong)


def test_both_directions_of_an_axis_give_ours(tmp_path: Path, ours: npt.NDArray[np.uint8]) -> None:
    path = stored(tmp_path / "a", np.concatenate([forward(ours), ours]), offsets=FORWARD + OURS)
    assert LabAffinities(path).neighbourhood == (*map(tuple, OURS), *map(tuple, FORWARD))
    np.testing.assert_array_equal(LabAffinities(path).read(whole(SHAPE))[:3], ours)


NAN, TINY = np.zeros((3, *SHAPE), np.float32), np.full((3, *SHAPE), 0.9 / 255, np.float32)
NAN[:, :5] = np.nan
HALF = np.full((3, *SHAPE), 0.5, np.float32)
GOOD = np.full((3, *SHAPE), 200, np.uint8)


def with_value(value: float) -> npt.NDArray[np.float32]:
    changed = HALF.copy()
    changed[1, 2, 3, 4] = value
    return changed


REFUSED: dict[str, tuple[npt.NDArray[Any], dict[str, Any], str]] = {
    "zeros and ones": (GOOD // 200, {}, "only 0 and 1"),
    "uint16": (GOOD.astype(np.uint16), {}, "uint16"),
    "int8": (GOOD.astype(np.int8), {}, "int8"),
    "truth values": (GOOD > 0, {}, "bool"),
    "NaN in half of the volume": (NAN, {}, "56.2% NaN"),
    "infinity": (with_value(np.inf), {}, "infinite"),
    "minus infinity": (with_value(-np.inf), {}, "infinite"),
    "logits": (with_value(-3.5), {}, "-3.5"),
    "up to 255": (with_value(255), {}, "up to 255"),
    "divided twice": (TINY, {}, "0.0035"),
    "channels last, not named": (np.moveaxis(GOOD, 0, -1), {}, "axis_names"),
    "channels last, large": (np.moveaxis(np.full((12, 70, 5, 6), 9, np.uint8), 0, -1), {}, "axis_names"),
    "x first": (GOOD, {"axis_names": ["c^", "x", "y", "z"]}, "z, y, x in this order"),
    "time": (GOOD, {"axis_names": ["t", "z", "y", "x"]}, "time"),
    "no nearest neighbour": (GOOD, {"offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -3]]}, "neighbours along x"),
    "one axis twice": (GOOD, {"offsets": [[-1, 0, 0], [-1, 0, 0], [0, 0, -1]]}, "channels [0, 1]"),
    "too few offsets": (GOOD, {"neighborhood": OURS[:2]}, "3 channels"),
    "no numbers": (GOOD, {"offsets": "zyx"}, "offsets zyx"),
    "halves": (GOOD, {"offsets": np.multiply(OURS, 0.5).tolist()}, "whole numbers"),
    "two that differ": (GOOD, {"offsets": OURS, "neighbourhood": FORWARD}, "agree"),
    "two channels": (GOOD[:2], {}, "C >= 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_affinities_is_refused(tmp_path: Path, case: str) -> None:
    values, attributes, word = REFUSED[case]
    with pytest.raises(InputError) as caught:
        LabAffinities(stored(tmp_path / "a", values, **attributes))
    assert caught.value.field == "affinities.path" and word in str(caught.value)


def test_a_little_nan_is_a_boundary(tmp_path: Path) -> None:
    values = with_value(np.nan)
    expected = np.full((3, *SHAPE), 128, np.uint8)
    expected[1, 2, 3, 4] = 0
    assert_read(stored(tmp_path / "a", values), expected)


def config_for(folder: Path, path: str, **keys: Any) -> Path:
    return write_config(
        folder / f"{Path(path).name}.toml",
        volume={"voxel_size": [10.0, 10.0, 10.0]},
        affinities={"path": path, **keys},
        output={"path": str(folder / f"{Path(path).name}-out.zarr")},
        schedule={"workers": 0, "block_shape": [24, 24, 24]},
    )


def test_the_segmentation_is_that_of_our_convention(tmp_path: Path, finished_run: Path) -> None:
    """Blocks read one voxel further for it, so that nothing depends on the block grid."""
    ours = read(finished_run / "out.zarr", "affinities")
    ours[0, 0] = ours[1, :, 0] = ours[2, :, :, 0] = 0
    axes = {**ATTRIBUTES, "axis_names": ["z", "y", "x", "c^"], "voxel_size": [10, 10, 10]}
    other = np.moveaxis(forward(ours)[::-1], 0, -1)
    paths = [stored(tmp_path / "ours", ours), stored(tmp_path / "other", other, **axes, offsets=FORWARD[::-1])]
    for path in paths:
        run(load_config(config_for(tmp_path, path)))
    first, second = (tmp_path / f"{name}-out.zarr" for name in ("ours", "other"))
    assert len(np.unique(read(first, "segmentation"))) > 10
    for name in ("fragments", "segmentation"):
        assert np.array_equal(read(first, name), read(second, name))


def test_channels_are_a_key_of_the_configuration(tmp_path: Path, finished_run: Path, refused) -> None:
    ours = read(finished_run / "out.zarr", "affinities")
    path = stored(tmp_path / "six", np.concatenate([ours, ours]))
    config = config_for(tmp_path, path, channels=[3, 4, 5])
    run(load_config(config))
    assert np.array_equal(read(tmp_path / "six-out.zarr", "fragments"), read(finished_run / "out.zarr", "fragments"))
    text = refused("run", config, "--set", "affinities.channels=[0,1]")
    assert "affinities.channels" in text
    raw = f"volume.path={finished_run / 'raw.zarr'}"
    turned = stored(tmp_path / "turned", np.moveaxis(ours, 0, -1), axis_names=["y", "z", "x", "c^"])
    assert "affinities.path" in refused("run", config, "--set", f"affinities.path={turned}", "--set", raw)


@pytest.mark.parametrize(
    ("last", "attributes", "axes", "said"),
    [
        (False, {}, "c,z,y,x", "(not stated, taken as ours)"),
        (True, {"axis_names": ["z", "y", "x", "c^"], "offsets": FORWARD}, "z,y,x,c", "(read as stated)"),
    ],
)
def test_plan_says_which_offsets_and_axes_it_takes(
    tmp_path: Path,
    ours: npt.NDArray[np.uint8],
    command: Command,
    last: bool,
    attributes: dict[str, Any],
    axes: str,
    said: str,
) -> None:
    values = np.moveaxis(forward(ours), 0, -1) if last else ours
    path = stored(tmp_path / "a.zarr", values, voxel_size=[10, 10, 10], **attributes)
    config = write_config(
        tmp_path / "config.toml",
        affinities={"path": path},
        output={"path": str(tmp_path / "out.zarr")},
        schedule={"workers": 0, "block_shape": [16, 16, 16]},
    )
    code, out, text = command("plan", config)
    assert code == 0, text
    line = next(line for line in out.splitlines() if line.startswith("affinities.path"))
    assert f"3x9x10x11 voxels, stored as {axes}" in line
    assert f"offsets [-1, 0, 0], [0, -1, 0], [0, 0, -1] {said}" in line
